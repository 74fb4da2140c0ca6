"""A resumable training run: progress, a log, checkpoints that survive a kill, curves and sample pictures."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from mulo_sd.reference.train.checkpoints import Job, RunError, broken, read_checkpoint, write_checkpoint
from mulo_sd.reference.train.curves import draw_curves
from mulo_sd.reference.train.lock import alone
from mulo_sd.reference.train.progress import RunProgress, run_progress
from mulo_sd.reference.train.run_log import Row, RunLog
from mulo_sd.reference.train.schedule import DECAY_SHARE
from mulo_sd.reference.train.stop_request import Stopped, StopRequest
from mulo_sd.reference.train.stopping import Stopping
from mulo_sd.reference.train.workers import Workers

SUFFIX = ".run"  # ends the name of a run's folder
CHECKPOINT = "checkpoint.pt"
DRAWN_SHARE = 0.05  # of the time, at most, that sample pictures take
JUDGEMENTS = 25  # of a run
ORPHAN_SECONDS = 60.0  # in which a worker whose parent was killed has ended


class Trainee(Protocol):
    """What a run trains. Step `n` sees the same data in every run, so that a resumed one ends as an unbroken one."""

    def step(self, step: int, steps: int) -> dict[str, float]:
        """Take one step and return its metrics, "loss" among them."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def draw(self, path: Path) -> None:
        """Draw sample pictures into one PNG."""


class Judge(Protocol):
    """How well a trainee does on held-out examples."""

    def loss(self) -> float:
        """Return the loss, the same in all workers."""
        ...

    def weights(self) -> dict[str, Any]:
        """Return a copy of the weights that were judged."""
        ...

    def load_weights(self, weights: dict[str, Any]) -> None:
        """Go back to weights."""
        ...


class Run:
    """Trains a `Trainee` in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        steps: int,
        *,
        job: Job = MappingProxyType({}),
        workers: Workers = Workers(),  # noqa: B008  (it is frozen)
        patience: int = 0,
        keep_best: bool = True,
        decay_share: float = DECAY_SHARE,
        save_seconds: float = 60.0,
        draw_seconds: float = 120.0,
    ) -> None:
        """Prepare a run.

        Args:
            folder: Of its checkpoint, log and pictures; made when it begins.
            steps: How many to take, at most.
            job: What is trained; a checkpoint of another job is refused.
            workers: This process among those that share every batch; only the leader writes and shows anything.
            patience: Judgements on held-out examples without a lower loss that end the run; 0: it never ends early.
            keep_best: End with the weights that were best on held-out examples, and not with the last.
            decay_share: Of the steps, in how many of the last the rate falls.
            save_seconds: Between checkpoints.
            draw_seconds: Between sample pictures; more, where drawing them would take a larger share of the time.
        """
        self.folder, self.workers, self.job = folder, workers, {**job, "steps": steps}
        self.stopping = Stopping(steps, patience, decay_share)
        self.keep_best = keep_best
        self.save_seconds, self.draw_seconds = save_seconds, draw_seconds
        self.history: list[Row] = []
        self.sums: Row = {}
        self.seconds = 0.0
        self.step = 0
        self.best: dict[str, Any] | None = None
        self.log = RunLog(folder / "log.jsonl")

    @property
    def name(self) -> str:
        """What people call it."""
        return self.folder.name.removesuffix(SUFFIX)

    @property
    def steps(self) -> int:
        """At which step the run ends as things stand."""
        return self.stopping.end

    @property
    def leads(self) -> bool:
        """Whether this process writes and shows what there is."""
        return self.workers.rank == 0

    @property
    def checkpoint(self) -> Path:
        return self.folder / CHECKPOINT

    def saved(self) -> dict[str, Any] | None:
        """Return the checkpoint that is there, or None.

        Raises:
            RunError: it is none, or of another job.
        """
        return read_checkpoint(self.checkpoint, self.job)

    def save(self, trainee: Trainee, finished: bool = False) -> None:
        """Write the checkpoint.

        Args:
            trainee: As it is after the last step.
            finished: It has its final weights.

        Raises:
            RunError: it cannot be written.
        """
        state = {
            "job": self.job,
            "step": self.step,
            "seconds": self.seconds,
            "history": self.history,
            "sums": self.sums,
            "stopping": self.stopping.state_dict(),
            "best": self.best,
            "finished": finished,
            "trainee": trainee.state_dict(),
        }
        write_checkpoint(self.checkpoint, state)

    def _resume(self, trainee: Trainee) -> None:
        state = self.saved()
        try:
            if state:
                trainee.load_state_dict(state["trainee"])
                self.stopping.load_state_dict(state["stopping"])
                self.step, self.seconds, self.best = int(state["step"]), float(state["seconds"]), state["best"]
                self.history, self.sums = list(state["history"]), dict(state.get("sums", {}))
        except Exception as error:  # whatever the file holds in their places
            raise broken(self.checkpoint, type(error).__name__) from None
        if self.leads:
            self.log.forget_after(self.step)

    def train(self, trainee: Trainee, log_every: int = 20, judge: Judge | None = None) -> None:
        """Train to the last step, from the checkpoint if there is one; end with the best weights, or the last.

        Raises:
            RunError: the loss is no number any more, or the folder holds something else.
            Stopped: the user asked for it.
        """
        with StopRequest(patient=self.workers.count > 1, deaf=not self.leads) as stop:
            if not self.leads:
                self._train(trainee, log_every, judge, stop)
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            with alone(
                self.folder / ".lock", f"{self.folder}: expected no other process that trains here", ORPHAN_SECONDS
            ):
                self._train(trainee, log_every, judge, stop)

    def _train(self, trainee: Trainee, log_every: int, judge: Judge | None, stop: StopRequest) -> None:
        self._resume(trainee)
        pictures = _Pictures(self, trainee, stop)
        judge_every = max(1, self.stopping.steps // JUDGEMENTS // log_every) * log_every
        with run_progress(self.name, self.step, quiet=not self.leads) as progress:
            while self.step < self.steps:
                self._step(trainee, log_every, judge if self._is_judged(judge_every) else None, progress)
                if self.leads:
                    pictures.after_step()
                if self.workers.agreed(stop.came):
                    if self.leads:
                        self.save(trainee)
                    raise self._stopped()
        if judge is not None and self.best is not None:
            judge.load_weights(self.best)
        if self.leads:
            self.save(trainee, finished=True)
            pictures.draw()
            if stop.came:
                raise self._stopped()

    def _is_judged(self, every: int) -> bool:
        """Whether the next step is one after which held-out examples are asked."""
        return (self.step + 1) % every == 0 or self.step + 1 >= self.steps

    def _step(self, trainee: Trainee, log_every: int, judge: Judge | None, progress: RunProgress) -> None:
        started = time.monotonic()
        metrics = trainee.step(self.step, self.steps)
        self.step += 1
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        row = None
        if self.step % log_every == 0 or self.step == self.steps:
            row = self._row(self.step % log_every or log_every)
            self.sums = {}
            if judge is not None:
                row["held_out"] = self._judge(judge)
        self.seconds += time.monotonic() - started
        if row is not None:
            self.history.append(row)
            if self.leads:
                self.log.add(row, self.seconds)
        progress.show(self.step, self.steps, row)

    def _row(self, count: int) -> Row:
        """Return the means of the last `count` steps over all workers.

        Raises:
            RunError: the loss is no number.
        """
        means = self.workers.means([value / count for value in self.sums.values()])
        row = {"step": float(self.step)} | dict(zip(self.sums, means, strict=True))
        self._check_finite(row["loss"], "a finite loss")
        return row

    def _check_finite(self, loss: float, what: str) -> None:
        if not math.isfinite(loss):
            raise RunError(
                f"{self.name}: expected {what}, got {loss} at step {self.step}; begin again in another --out with "
                "another --seed or a lower --rate"
            )

    def _judge(self, judge: Judge) -> float:
        loss = judge.loss()
        self._check_finite(loss, "a finite loss on held-out pictures")
        if self.stopping.judged(self.step, loss) and self.keep_best:
            self.best = judge.weights()
        return loss

    def _stopped(self) -> Stopped:
        return Stopped(f"{self.name}: stopped at step {self.step} of {self.steps}; the same command goes on from there")


class _Pictures:
    """When a run writes checkpoints, and draws curves and samples."""

    def __init__(
        self, run: Run, trainee: Trainee, stop: StopRequest, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.run, self.trainee, self.stop, self.clock = run, trainee, stop, clock
        self.saved = self.drawn = clock()
        self.pause = run.draw_seconds

    def after_step(self) -> None:
        """Do what is due."""
        if self.clock() - self.saved > self.run.save_seconds:
            self.run.save(self.trainee)
            self._draw_curves()
            self.saved = self.clock()
        if self.clock() - self.drawn > self.pause:
            started = self.clock()
            self.draw()
            self.drawn = self.clock()
            self.pause = max(self.run.draw_seconds, (self.drawn - started) / DRAWN_SHARE)

    def draw(self) -> None:
        """Draw curves and samples, unless the user wants an end."""
        self._draw_curves()
        with self.stop.breaks_off():
            self.trainee.draw(self.run.folder / "samples.png")

    def _draw_curves(self) -> None:
        if self.run.history:
            with self.stop.breaks_off():
                draw_curves(self.run.history, self.run.folder / "curves.png")
