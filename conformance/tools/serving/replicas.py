"""The processes that a command has started on this machine by Ray, found on Linux."""

import os
from pathlib import Path

ENGINE = "ray::ServeReplica:mulo-sd:engine"
ACTOR = "ray::MapWorker(MapBatches(BatchActor))"


def engine_replicas(process: int) -> list[int]:
    """Return the engine replicas among a process's descendants, by their process ids, oldest first."""
    return named_descendants(process, ENGINE)


def batch_actors(process: int) -> list[int]:
    """Return the actors of a run of images among a process's descendants, oldest first."""
    return named_descendants(process, ACTOR)


def named_descendants(process: int, name: str) -> list[int]:
    """Return a process's descendants whose command lines begin with a name, oldest first."""
    return [child for child in sorted(descendants(process)) if _name(child).startswith(name)]


def descendants(process: int) -> set[int]:
    """Return all processes that a process has started, and those that they have."""
    parents, found = _parents(), {process}
    while more := {child for child, parent in parents.items() if parent in found and child not in found}:
        found |= more
    return found - {process}


def is_alive(process: int) -> bool:
    """Whether a process runs; one that has ended and nobody has waited for does not."""
    try:
        return _stat(process)[0] != "Z"
    except OSError:
        return False


def processor_seconds(process: int) -> float:
    """Return how long a process has computed, on all cores together."""
    fields = _stat(process)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _parents() -> dict[int, int]:
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                parents[int(folder.name)] = int(_stat(int(folder.name))[1])
            except OSError:  # it has ended meanwhile
                continue
    return parents


def _stat(process: int) -> list[str]:
    """Return the state and the parent, first and second after the name, which may hold anything."""
    return Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def _name(process: int) -> str:
    try:
        return os.fsdecode(Path(f"/proc/{process}/cmdline").read_bytes()).replace("\0", " ")
    except OSError:
        return ""
