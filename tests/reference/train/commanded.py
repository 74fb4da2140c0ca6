"""The training command, run in this process on a few small pictures."""

import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import torch

from mulo_sd.reference.train import __main__ as train
from mulo_sd.reference.train import autoregressive, budget, recipe

TINY = (
    *("--pixels", "32", "--drafters", "1", "--codes", "16", "--width", "8"),
    *("--layers", "1", "--heads", "2", "--dim", "16", "--threads", "1"),
)
STEPS = 4  # of each model, where there are minutes: they are next to nothing
SHORT = ("--minutes", "0.01")


def command(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command, and return its status and what it wrote."""
    given = [str(argument) for argument in arguments]
    threads, out, error = torch.get_num_threads(), io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(error):
        patch.setattr(sys, "argv", ["train", *given])
        patch.setattr(budget, "LEAST_STEPS", STEPS)
        patch.setattr(budget, "TRAINED_SHARE", 1e-9)
        patch.setattr(budget, "MEASURED_STEPS", 1)
        patch.setattr(recipe, "BATCH_ROWS", 16)
        patch.setattr(autoregressive, "SHOWN", 2)
        try:
            status: object = train.main()
        except SystemExit as stop:
            status = stop.code
        finally:
            torch.set_num_threads(threads)
    assert isinstance(status, int), status
    return subprocess.CompletedProcess(given, status, out.getvalue(), error.getvalue())


def refusal(*arguments: str | Path) -> str:
    """Run the command, which refuses: return its one line after the usage."""
    done = command(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    error = done.stderr[done.stderr.index("error: ") :]
    assert len(error.splitlines()) == 1, error
    return error


def files(folder: Path, pattern: str = "*.safetensors") -> dict[str, bytes]:
    """Return the content of files by their path in a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob(pattern)) if path.is_file()
    }


@contextmanager
def signalled(number: signal.Signals, is_time: Callable[[], object]) -> Iterator[None]:
    """Send this process a signal as soon as it is time, from another thread; one that comes late does nothing."""
    over = threading.Event()

    def send() -> None:
        while not over.wait(0.005):
            if is_time():
                os.kill(os.getpid(), number)
                return

    before, thread = signal.signal(number, lambda *_: None), threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        signal.signal(number, before)
