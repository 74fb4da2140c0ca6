"""A resumable training run: progress, a log, checkpoints that survive a kill, curves and sample pictures."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import matplotlib
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

matplotlib.use("Agg")
from matplotlib import pyplot


class Trainee(Protocol):
    """What a run trains. Step `n` sees the same data in every run, so that a resumed one ends as an unbroken one."""

    def step(self, step: int, steps: int) -> dict[str, float]:
        """Take one step and return its metrics, "loss" among them."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def draw(self, path: Path) -> None:
        """Draw sample pictures into one PNG."""


class RunError(ValueError):
    """A run that cannot go on from its checkpoint; its message is one line for the user."""


# What a checkpoint must have been made with: arguments that change what is trained, by name.
Job = Mapping[str, str | int | float | None]


def read_checkpoint(file: Path, job: Job) -> dict[str, Any] | None:
    """Return a run's checkpoint, or None where there is none yet.

    Raises:
        RunError: the file is no checkpoint, or one of another job.
    """
    if not file.exists():
        return None
    try:
        state = torch.load(file, weights_only=True)
        made_with = dict(state["job"])
    except Exception as error:  # torch raises half a dozen classes for a file that is no checkpoint
        raise RunError(
            f"{file}: expected a checkpoint of this version, got: {type(error).__name__}; delete its folder or give "
            "another --out"
        ) from None
    for name in sorted(job.keys() | made_with.keys()):
        if made_with.get(name) != job.get(name):
            raise RunError(
                f"{file}: expected a run with {name} {job.get(name)}, got one with {made_with.get(name)}; "
                "resume it with the same arguments, or give another --out"
            )
    checkpoint: dict[str, Any] = state
    return checkpoint


class Run:
    """Trains a `Trainee` in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        steps: int,
        leader: bool = True,
        save_seconds: float = 60.0,
        draw_seconds: float = 600.0,
        job: Job = MappingProxyType({}),
    ) -> None:
        """Prepare a run.

        Args:
            folder: Of its checkpoint, log and pictures; made if it is not there.
            steps: How many to take.
            leader: Of several workers only one writes and shows anything.
            save_seconds: Between checkpoints.
            draw_seconds: Between sample pictures.
            job: What is trained; a checkpoint of another job is refused.
        """
        self.folder, self.steps, self.leader, self.job = folder, steps, leader, {**job, "steps": steps}
        self.save_seconds, self.draw_seconds = save_seconds, draw_seconds
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    @property
    def log(self) -> Path:
        return self.folder / "log.jsonl"

    def _save(self, trainee: Trainee, step: int) -> None:
        path = self.checkpoint.resolve()  # a symbolic link stays one
        # One name, so that what a killed run left there is written over.
        beside = path.with_suffix(".partial")
        torch.save(
            {
                "job": self.job,
                "step": step,
                "seconds": self.seconds,
                "history": self.history,
                "trainee": trainee.state_dict(),
            },
            beside,
        )
        beside.replace(path)

    def _resume(self, trainee: Trainee) -> int:
        state = read_checkpoint(self.checkpoint, self.job)
        step = int(state["step"]) if state else 0
        if self.leader:
            self._forget_rows_after(step)
        if state:
            trainee.load_state_dict(state["trainee"])
            self.history, self.seconds = state["history"], state["seconds"]
        return step

    def _forget_rows_after(self, step: int) -> None:
        """Drop what the log holds of steps that are about to be taken again."""
        if self.log.exists():
            lines = self.log.read_text(encoding="utf-8").split("\n")
            try:
                kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
            except (ValueError, KeyError, TypeError):
                raise RunError(
                    f"{self.log}: expected the log of a run, got something else; move it away, or give another --out"
                ) from None
            path = self.log.resolve()
            beside = path.with_suffix(".partial")
            beside.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
            beside.replace(path)

    def draw_curves(self) -> None:
        """Write curves.png: each metric against the steps taken."""
        names = [name for name in self.history[-1] if name != "step"]
        figure, axes = pyplot.subplots(1, len(names), figsize=(4.5 * len(names), 3.2), squeeze=False)
        for name, axis in zip(names, axes[0], strict=True):
            rows = [row for row in self.history if name in row]
            axis.plot([row["step"] for row in rows], [row[name] for row in rows])
            axis.set(title=name, xlabel="step")
            axis.grid(alpha=0.3)
        figure.tight_layout()
        figure.savefig(self.folder / "curves.png", dpi=90)
        pyplot.close(figure)

    def train(self, trainee: Trainee, log_every: int = 20) -> None:
        """Train to the last step, from the checkpoint if there is one."""
        step = self._resume(trainee)
        saved = drawn = time.monotonic()
        sums: dict[str, float] = {}
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.fields[metrics]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, disable=not self.leader) as progress:
            bar = progress.add_task(self.folder.name, total=self.steps, completed=step, metrics="")
            while step < self.steps:
                started = time.monotonic()
                metrics = trainee.step(step, self.steps)
                step += 1
                now = time.monotonic()
                self.seconds += now - started
                for name, value in metrics.items():
                    sums[name] = sums.get(name, 0.0) + value
                if self.leader and (step % log_every == 0 or step == self.steps):
                    count = step % log_every or log_every
                    row = {"step": float(step)} | {name: value / count for name, value in sums.items()}
                    sums = {}
                    self.history.append(row)
                    with self.log.open("a", encoding="utf-8") as log:
                        log.write(json.dumps(row | {"seconds": round(self.seconds, 1)}) + "\n")
                    shown = " ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "step")
                    progress.update(bar, metrics=shown)
                    # Only here: a checkpoint between two log rows would lose the rows' partial sums.
                    if now - saved > self.save_seconds:
                        self._save(trainee, step)
                        self.draw_curves()
                        saved = time.monotonic()
                    if now - drawn > self.draw_seconds:
                        trainee.draw(self.folder / "samples.png")
                        drawn = time.monotonic()
                progress.update(bar, completed=step)
        if self.leader:
            self._save(trainee, step)
            if self.history:
                self.draw_curves()
            trainee.draw(self.folder / "samples.png")
