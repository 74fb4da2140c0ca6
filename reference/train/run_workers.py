"""Start workers, and end them.

On a CPU two processes of one thread each train faster than one process of two threads, and suffer far less
where another program wants a core now and then.
"""

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue

import torch
import torch.distributed
from torch.multiprocessing.spawn import ProcessContext, ProcessException, start_processes

from mulo_sd.engines.commands.interrupts import signals_handled
from mulo_sd.reference.train.checkpoints import RunError
from mulo_sd.reference.train.stop_request import Stopped, StopRequest
from mulo_sd.reference.train.workers import Workers

POLL_SECONDS = 0.5
GRACE_SECONDS = 10.0  # for workers to end once one of them has failed
FAILED = 2
# What a worker tells of itself in a line; whatever else is a fault of ours, and keeps its traceback.
Told = SimpleQueue[Exception]


def _work(
    rank: int,
    count: int,
    port: int,
    threads: int,
    device: torch.device,
    work: Callable[[Workers], None],
    parent: int,
    told: Told,
) -> None:
    with StopRequest(patient=True, deaf=rank > 0):  # until the work sees to signals itself
        if os.getppid() != parent:  # which was killed before torch let its children end with it
            return
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        torch.set_num_threads(threads)
        on_gpu = device.type == "cuda"
        if on_gpu:
            device = torch.device("cuda", rank)
            torch.cuda.set_device(device)  # else all of them would keep something on the first
        torch.distributed.init_process_group(
            "nccl" if on_gpu else "gloo",
            rank=rank,
            world_size=count,
            timeout=timedelta(hours=1),
            device_id=device if on_gpu else None,
        )
        try:
            work(Workers(rank, count, device))
        except (ValueError, OSError, torch.OutOfMemoryError, Stopped) as error:
            told.put(error)
            if not isinstance(error, Stopped):
                sys.exit(FAILED)  # the others wait for this one
        finally:
            torch.distributed.destroy_process_group()


def run_workers(count: int, threads: int, device: torch.device, work: Callable[[Workers], None]) -> None:
    """Run `work` in `count` processes of `threads` threads each.

    Args:
        count: 1 runs it in this process; on GPUs, each process takes one.
        threads: Threads of each.
        device: Where they compute.
        work: Must be picklable (a function of a module or a partial of one).

    Raises:
        ValueError: one told of it; RunError where one ended without a word.
        OSError, torch.OutOfMemoryError: likewise.
        Stopped: the user asked for it, and there is a checkpoint.
    """
    if count == 1:
        torch.set_num_threads(threads)
        work(Workers(device=device))
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)  # that others are ended is our own wish
    told: Told = get_context("spawn").SimpleQueue()
    arguments = (count, port, threads, device, work, os.getpid(), told)
    with StopRequest() as stop:
        # Children ignore signals until they see to them: Ctrl-C would reach them in the middle of their imports.
        with signals_handled(signal.SIG_IGN):
            # torch does not annotate it
            context = start_processes(_work, arguments, count, join=False)  # type: ignore[no-untyped-call]
        try:
            _wait(context, stop)
        except ProcessException as error:
            if told.empty():
                raise RunError(f"a worker ended: {' '.join(str(error).split())[-300:]}") from error
        finally:
            for process in context.processes:
                process.kill()
    if not told.empty():
        raise told.get()
    if stop.came:  # after the run, while its weights were written
        raise KeyboardInterrupt


def _wait(context: ProcessContext, stop: StopRequest) -> None:
    """Wait for workers; hand a request to end on to the leader, as often as it takes: it may not listen yet."""
    while not context.join(timeout=POLL_SECONDS, grace_period=GRACE_SECONDS):
        if stop.came and context.processes[0].is_alive():
            os.kill(context.processes[0].pid, signal.SIGTERM)
