"""Samples of several decodes at once: what they ask of one shared pass in one step is one call of the backend.

On a device each call is a launch and a wait for its tokens. A decode that asks hands over, as it does for a pass; when
no decode can go on, all that wait are sampled, and go on before any further pass is made.
"""

from collections.abc import Hashable
from dataclasses import dataclass

import greenlet

from mulo_sd.engines.backends.base import Draw, Floats, Judgement, PartedScores, Scores, Tokens, Wanted
from mulo_sd.engines.distribution import Distribution
from mulo_sd.engines.passes.scheduler import Scheduler
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource


@dataclass
class _WaitingSample:
    """A sample that waits, with its decode; then it has its tokens, or an error."""

    whole: PartedScores
    distribution: Distribution
    wanted: Wanted
    decode: greenlet.greenlet
    tokens: Tokens | None = None
    error: BaseException | None = None

    @property
    def kind(self) -> Hashable:
        """The same for those that one call can sample: of one pass, by one distribution, towards drafts alike."""
        anchor = self.wanted.anchor
        towards = None if anchor is None else (anchor.strength, id(anchor.codes))
        return id(self.whole), self.wanted.batch, self.distribution, towards


class SharedSamples:
    """Collects samples of the decodes of a scheduler."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.waiting: list[_WaitingSample] = []

    def sample(self, whole: PartedScores, distribution: Distribution, wanted: Wanted) -> Tokens:
        """Return tokens, Int[n], when all that wait are sampled.

        Raises:
            Exception: as the backend's.
        """
        own = _WaitingSample(whole, distribution, wanted, greenlet.getcurrent())
        self.waiting.append(own)
        self.scheduler.wait()
        if own.error is not None:
            raise own.error
        assert own.tokens is not None
        return own.tokens

    def run(self) -> bool:
        """Sample for all that wait, and let their decodes go on; return whether there were any."""
        waiting, self.waiting = self.waiting, []
        groups: dict[Hashable, list[_WaitingSample]] = {}
        for item in waiting:
            groups.setdefault(item.kind, []).append(item)
        for group in groups.values():
            self._run(group)
        for item in waiting:
            self.scheduler.resume(item.decode)
        return bool(waiting)

    def _run(self, group: list[_WaitingSample]) -> None:
        """Sample for a group in one call; where that fails, for each by itself, so that only what is at fault fails."""
        whole, distribution = group[0].whole, group[0].distribution
        try:
            samples = whole.sample_together([item.wanted for item in group], distribution)
        except BaseException as error:  # a backend from outside may raise anything; its decode ends with it
            if len(group) == 1:
                group[0].error = error
                return
            for item in group:
                self._run([item])
            return
        for item, tokens in zip(group, samples, strict=True):
            item.tokens = tokens


class SharedScores(Scores):
    """One decode's part of the scores of a shared pass; its samples are shared, too."""

    def __init__(self, samples: SharedSamples, whole: PartedScores, part: PartedScores, first_row: int, batch: int):
        """Take the scores of a pass, and the part of it that is `batch` rows from `first_row` on."""
        self.samples, self.whole, self.part = samples, whole, part
        self.first_row, self.batch = first_row, batch

    def logits(self) -> Floats:
        """Return all of them in the host's memory."""
        return self.part.logits()

    def hidden(self) -> Floats:
        """Return the hidden states."""
        return self.part.hidden()

    def last(self) -> Scores:
        """Return the last row's, which are nobody else's."""
        return self.part.last()

    def draw(self, rows: Tokens, distribution: Distribution, noise: Floats) -> Draw:
        """Sample by given noise."""
        return self.part.draw(rows, distribution, noise)

    def sample(
        self, rows: Tokens, cells: Tokens, distribution: Distribution, noise: NoiseSource, anchor: Anchor | None
    ) -> Tokens:
        """Sample together with the decodes that shared the pass."""
        wanted = Wanted(self.part, self.first_row, self.batch, rows, cells, noise, anchor)
        return self.samples.sample(self.whole, distribution, wanted)

    def judge(self, rows: Tokens, distribution: Distribution, draft_tokens: Tokens, neighbours: Tokens) -> Judgement:
        """Pool the probability around draft tokens."""
        return self.part.judge(rows, distribution, draft_tokens, neighbours)
