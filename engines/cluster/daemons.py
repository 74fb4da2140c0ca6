"""Ray's daemons that this process has started: where one dies, what waits for the cluster here waits for ever."""

import os
from pathlib import Path

NAMES = ("raylet", "gcs_server")


class Daemons:
    """The raylet and the head's server among this process's children, on Linux; none of a cluster that was joined."""

    def __init__(self) -> None:
        """Find them."""
        own = os.getpid()
        processes = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
        self._watched = [process for process in processes if _parent_of(process) == own and _name(process) in NAMES]

    def end_with_them(self) -> None:
        """Where one has died, end this process at once, with status 1; what it leaves of the cluster ends with it."""
        if any(_parent_of(process) is None for process in self._watched):
            os._exit(1)  # Ray's own end would wait for what is not there any more


def _parent_of(process: int) -> int | None:
    """Return a process's parent; None where it has ended, though nobody has asked for its status."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, parent = stat.rpartition(")")[2].split()[:2]
    return None if state == "Z" else int(parent)


def _name(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
