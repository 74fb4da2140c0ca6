"""How much memory a stage of a build takes, and what gives it back."""

import contextlib
import ctypes
import gc
from collections.abc import Callable, Iterator
from pathlib import Path

from torch import nn

WORTH_RELEASING = 64 * 2**20  # bytes
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def start_stage() -> None:
    """Forget the peak so far, where the system can (Linux)."""
    try:
        _RESET.write_text("5")
    except OSError:
        return


def peak_bytes() -> int:
    """Return the most memory that the process held since then, files that it mapped included; 0 if unknown."""
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)


def release(held: int) -> None:
    """Give back to the system what is not used any more: objects in cycles, and what the C library keeps of them.

    Args:
        held: Bytes of weights that may be among it; for a few nothing is done, since looking for them takes 0.1 s.
    """
    if held < WORTH_RELEASING:
        return
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


def weight_bytes(module: nn.Module) -> int:
    """Return how many bytes a module's parameters and buffers take."""
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))


@contextlib.contextmanager
def short_collections() -> Iterator[Callable[[], None]]:
    """Let garbage collections pass over what stays in memory anyway.

    torch and its exporter load some million objects, which every collection would visit: 0.3 s each, several for every
    graph.

    Yields:
        A function to call when much was loaded that stays: what is in memory then is passed over too, until the end.
    """
    others = gc.get_freeze_count()  # somebody else's, who decides when to collect them

    def pass_over() -> None:
        gc.collect()
        gc.freeze()

    pass_over()
    try:
        yield pass_over
    finally:
        if not others:
            gc.unfreeze()
