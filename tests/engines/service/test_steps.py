"""The steps of a decode: what they show is what was decided, in every mode."""

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mulo_sd import engines
from mulo_sd.engines.loop.decode import Decoder
from mulo_sd.engines.modes import MODES
from mulo_sd.engines.service.image import GREY, partial_image
from mulo_sd.engines.service.steps import Cell, Step, StepRecorder


@pytest.fixture(scope="module")
def pipeline(minimal_bundle: Path) -> engines.Pipeline:
    return engines.load(minimal_bundle, threads=1)


class Looking:
    """Records a decode, and counts decided cells as the decode does."""

    def __init__(self, most: int = 256) -> None:
        self.recorder, self.decoders = StepRecorder(most), list[Decoder]()
        self.counts: list[tuple[int, int]] = []

    def watch(self, decoder: Decoder) -> None:
        self.decoders.append(decoder)
        self.recorder.watch(decoder)

    def progress(self, done: int, total: int) -> None:
        self.counts.append((done, int(self.decoders[0].states[0].decided.sum())))

    def draw(self, pipeline: engines.Pipeline, **settings: Any) -> engines.Result:
        result = pipeline.draw(
            "a red star", seed=1, watch=self.watch, step=self.recorder.step, progress=self.progress, **settings
        )
        self.recorder.end()
        return result

    @property
    def steps(self) -> list[Step]:
        return self.recorder.steps


@pytest.mark.parametrize("mode", MODES)
def test_decided_cells_are_those_that_progress_counts(pipeline: engines.Pipeline, mode: str) -> None:
    looking = Looking()
    result = looking.draw(pipeline, mode=mode)
    assert looking.counts
    assert all(counted == decided for counted, decided in looking.counts)
    last = looking.steps[-1]
    assert (last.tokens == result.tokens).all()
    assert (last.kind, last.decided) == ("decided", result.tokens.size)
    assert dict(last.passes) == result.trace.passes_by_model
    assert sum(last.passes.values()) == len(result.trace.passes)
    numbers = [step.number for step in looking.steps]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("mode", MODES)
def test_a_decided_token_stays(pipeline: engines.Pipeline, mode: str) -> None:
    looking = Looking()
    looking.draw(pipeline, mode=mode)
    before: dict[int, Step] = {}
    for step in looking.steps:
        if step.model in before and not step.is_draft and mode != "serial":  # there drafters draw their rows again
            old = before[step.model]
            decided = np.isin(old.cells, (Cell.KEPT, Cell.SAMPLED)) & np.isin(step.cells, (Cell.KEPT, Cell.SAMPLED))
            assert (old.tokens[decided] == step.tokens[decided]).all()
            assert step.decided >= old.decided
        before[step.model] = step


def test_local_verification_shows_its_verdicts(pipeline: engines.Pipeline) -> None:
    looking = Looking()
    result = looking.draw(pipeline, mode="parallel", tau=0.02)
    cycle = result.trace.cycles_of(0)[0]
    verified = next(step for step in looking.steps if step.model == 0 and step.kind == "verified")
    assert (~cycle.kept).any()
    assert ((verified.cells == Cell.REJECTED) == ~cycle.kept).all()
    assert ((verified.cells == Cell.BESIDE) == (cycle.kept & cycle.resampled)).all()
    assert ((verified.cells == Cell.KEPT) == (cycle.kept & ~cycle.resampled)).all()
    kinds = [(step.model, step.kind) for step in looking.steps]
    assert kinds.index((2, "draft")) < kinds.index((1, "proposal")) < kinds.index((0, "proposal"))
    assert kinds.index((0, "proposal")) < kinds.index((0, "verified"))
    proposal = next(step for step in looking.steps if step.model == 0 and step.kind == "proposal")
    assert (proposal.tokens == cycle.up_sampled).all()


def test_guesses_are_not_shown(pipeline: engines.Pipeline) -> None:
    looking = Looking()
    looking.draw(pipeline, mode="ar", sweep_width=8)
    guessed = [step for step in looking.steps if (step.cells == Cell.GUESS).any()]
    assert guessed
    for step in guessed:
        assert (step.shown[step.cells == Cell.GUESS] == -1).all()
        assert (step.shown[step.cells == Cell.SAMPLED] >= 0).all()


@pytest.mark.parametrize("most", [2, 3, 7, 16])
def test_a_long_decode_is_thinned(pipeline: engines.Pipeline, most: int) -> None:
    looking = Looking(most)
    result = looking.draw(pipeline, mode="ar", sweep_width=1)
    assert len(looking.steps) <= most
    assert (looking.steps[-1].tokens == result.tokens).all()
    assert len(looking.steps) >= most // 2
    assert looking.steps[0].number == 1


def test_thinning_keeps_what_begins_something_else(pipeline: engines.Pipeline) -> None:
    whole, thin = Looking(), Looking(30)
    for looking in (whole, thin):
        looking.draw(pipeline, mode="serial", drafters=1)
    kinds = [[(step.model, step.kind) for step in looking.steps] for looking in (whole, thin)]
    assert len(whole.steps) > len(thin.steps)
    whole_changes, thin_changes = ([kind for kind, _ in groupby(each)] for each in kinds)
    assert thin_changes == whole_changes


def test_recording_changes_nothing(pipeline: engines.Pipeline) -> None:
    alone = pipeline.generate("a red star", seed=1, mode="parallel")
    assert (Looking().draw(pipeline, mode="parallel").tokens == alone.tokens).all()


def test_a_partial_image_is_grey_where_no_token_is(pipeline: engines.Pipeline) -> None:
    tokens = pipeline.generate("a red star", seed=1).tokens
    whole = np.array(pipeline.image_from_tokens(tokens))
    some = tokens.copy()
    some[0, 1] = -1
    pixels = whole.shape[0] // len(tokens)
    part = np.array(partial_image(some, pipeline.image_from_tokens))
    assert (part[:pixels, pixels : 2 * pixels] == GREY).all()
    assert partial_image(tokens, pipeline.image_from_tokens).tobytes() == whole.tobytes()


def test_what_a_step_raises_ends_the_decode(pipeline: engines.Pipeline) -> None:
    def stop(*_: object) -> None:
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        pipeline.generate("a red star", step=stop)
    with pytest.raises(engines.SettingsError, match="step: expected a function, got 3"):
        pipeline.generate("a red star", step=3)
