"""Data-parallel workers: processes that take a share of every batch each and average their gradients.

Two processes of one thread each train faster than one process of two threads, and suffer far less
where another program wants a core now and then.
"""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed
from torch import nn
from torch.multiprocessing.spawn import spawn


@dataclass(frozen=True)
class Workers:
    """This process among its fellows; rank 0 leads."""

    rank: int = 0
    count: int = 1

    def share(self, batch: int) -> range:
        """Return which images of a batch are this worker's."""
        return range(self.rank * batch // self.count, (self.rank + 1) * batch // self.count)

    def average_gradients(self, model: nn.Module) -> None:
        """Replace every gradient by its mean over the workers."""
        if self.count == 1:
            return
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(flat)
        flat /= self.count
        for gradient, mean in zip(gradients, torch.split(flat, [item.numel() for item in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))


def _work(rank: int, count: int, port: int, threads: int, work: Callable[[Workers], None]) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(threads)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=count, timeout=timedelta(hours=1))
    try:
        work(Workers(rank, count))
    finally:
        torch.distributed.destroy_process_group()


def run_workers(count: int, threads: int, work: Callable[[Workers], None]) -> None:
    """Run `work` in `count` processes of `threads` threads each; raise if one fails.

    Args:
        count: 1 runs it in this process.
        threads: Threads of each.
        work: Must be picklable (a function of a module or a partial of one).
    """
    if count == 1:
        torch.set_num_threads(threads)
        work(Workers())
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    spawn(_work, (count, port, threads, work), nprocs=count)  # type: ignore[no-untyped-call]  # torch does not annotate it
