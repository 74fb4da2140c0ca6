"""The checkpoint of a run: one file that is there whole or not at all, and says what it was made with."""

import os
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch


class RunError(ValueError):
    """A run that cannot go on; its message is one line for the user."""


# What a checkpoint must have been made with: arguments that change what is trained, by name.
Job = Mapping[str, str | int | float | None]
FIELDS = ("job", "step", "seconds", "history", "stopping", "best", "trainee")
# What a folder's pictures and captions make of it, in the order in which a change is told.
OF_PICTURES = ("pictures", "captions", "prefix_length")


def read_checkpoint(file: Path, job: Job) -> dict[str, Any] | None:
    """Return a run's checkpoint, or None where there is none yet.

    Args:
        file: Its path.
        job: What it must have been made with.

    Raises:
        RunError: the file is no checkpoint, or one of another job.
    """
    state = _loaded(file)
    if state is None:
        return None
    _check_job(file, job, state["job"], job.keys() | state["job"].keys())
    missing = [name for name in FIELDS if name not in state]
    if missing:
        raise broken(file, f"one without {missing[0]}")
    return state


def job_of(file: Path) -> Job | None:
    """Return what a run's checkpoint was made with, or None where there is none; its weights are not read.

    Raises:
        RunError: the file is no checkpoint.
    """
    state = _loaded(file, mmap=True)
    return None if state is None else dict(state["job"])


def check_checkpoint(file: Path, job: Job) -> None:
    """Check what is known of a job so far against a run's checkpoint, if there is one; its weights are not read.

    Raises:
        RunError: the file is no checkpoint, or one of another job.
    """
    made_with = job_of(file)
    if made_with is not None:
        _check_job(file, job, made_with, job.keys())


def _loaded(file: Path, mmap: bool = False) -> dict[str, Any] | None:
    if not os.path.lexists(file):
        return None
    try:
        state: dict[str, Any] = torch.load(file, weights_only=True, map_location="cpu", mmap=mmap)
        return state | {"job": dict(state["job"])}
    except Exception as error:  # torch raises half a dozen classes for a file that is no checkpoint
        raise broken(file, type(error).__name__) from None


def _check_job(file: Path, job: Job, made_with: Job, names: Set[str]) -> None:
    for name in (*sorted(names - {*OF_PICTURES}), *(name for name in OF_PICTURES if name in names)):
        if made_with.get(name) != job.get(name):
            raise RunError(
                f"{file}: expected {_shown(name, made_with)}, with which this run was begun, got {_shown(name, job)}; "
                f"{_advice(name)}, or give another --out"
            )


def _advice(name: str) -> str:
    if name == "steps":
        return "resume it with the same --steps or --minutes"
    if name in OF_PICTURES:
        return "pictures, captions or options about them have changed since: change them back"
    return "resume it with the same arguments"


def _shown(name: str, job: Job) -> str:
    """Return a part of a job for people; hashes are cut."""
    value = job.get(name)
    return f"no {name}" if value in (None, "") else f"{name} {str(value)[:16]}"


def broken(file: Path, got: str) -> RunError:
    """Return the error of a file that cannot be gone on with."""
    return RunError(
        f"{file}: expected a checkpoint of this version, got: {got}; move its folder away or give another --out"
    )


def write_checkpoint(file: Path, state: Mapping[str, Any]) -> None:
    """Write a checkpoint in place of the one that is there.

    Raises:
        RunError: it cannot be written; the old one is still there.
    """
    path = file.resolve()  # a symbolic link stays one
    # One name, so that what a killed run left there is written over.
    beside = path.with_suffix(".partial")
    try:
        with beside.open("wb") as stream:
            torch.save(dict(state), stream)
        beside.replace(path)
    except (OSError, RuntimeError) as error:  # the latter is torch's where a disk is full
        beside.unlink(missing_ok=True)
        reason = (isinstance(error, OSError) and error.strerror) or "is the disk full?"
        kept = "the last one is still there" if path.exists() else "there is none yet"
        raise RunError(f"{file}: cannot write the checkpoint: {reason}; {kept}") from None
