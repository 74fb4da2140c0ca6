"""Frames: what is seen at each step, and that thinning loses none of the turns of a decode."""

import base64
import io
import itertools
import json
import re

import numpy as np
import pytest
from PIL import Image

from mulo_sd import engines
from mulo_sd.engines.service.image import GREY
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.service.steps import Cell, Step
from mulo_sd.engines.viewer.frames import Frame, FrameMaker, chosen_steps, frames_of
from tests.engines.viewer.recorded import record

PREFIX = "data:image/png;base64,"


def image_of(frame: Frame) -> Image.Image:
    assert frame["image"].startswith(PREFIX)
    with Image.open(io.BytesIO(base64.b64decode(frame["image"].removeprefix(PREFIX)))) as image:
        return image.convert("RGB")


def turns(steps: list[Step]) -> list[tuple[int, str]]:
    """Return what a decode is at, one after the other."""
    return [kind for kind, _ in itertools.groupby((step.model, step.kind) for step in steps)]


@pytest.mark.parametrize(
    ("mode", "kinds"),
    [
        ("ar", {"drawing", "decided"}),
        ("zipar", {"drawing", "decided"}),
        ("eagle-tree", {"drawing", "decided"}),
        ("serial", {"draft", "proposal", "verified", "decided"}),
        ("parallel", {"draft", "proposal", "verified", "decided"}),
        ("exact", {"draft", "proposal", "verified", "decided"}),
    ],
)
def test_frames_are_what_the_steps_hold(mode: engines.Mode, kinds: set[str], pipeline: Pipeline) -> None:
    """In values that JSON has; the last one is the result and its passes."""
    steps, result = record(pipeline, mode=mode)
    frames = frames_of(steps, pipeline.image_from_tokens)
    assert json.loads(json.dumps(frames)) == frames
    assert {frame["kind"] for frame in frames} == kinds
    for frame, step in zip(frames, steps, strict=True):
        assert (frame["rows"], frame["columns"]) == step.cells.shape
        assert [int(digit) for digit in frame["cells"]] == step.cells.ravel().tolist()
        decided = {str(int(Cell.KEPT)), str(int(Cell.SAMPLED))}
        assert frame["decided"] == sum(frame["cells"].count(digit) for digit in decided) == step.decided
        assert frame["passes"] == dict(step.passes)
        assert "  " not in frame["title"]
        assert not re.search(r"\b1 tokens|_", frame["title"] + frame["detail"])
    last = frames[-1]
    assert (last["title"], last["kind"], last["model"]) == ("The result", "decided", 0)
    assert np.array_equal(np.asarray(image_of(last)), np.asarray(result.image))
    assert last["passes"]["target"] == result.stats.nfe_target
    assert sum(last["passes"].values()) == result.stats.nfe_target + result.stats.nfe_drafter


def test_an_image_is_the_pipelines_and_grey_where_there_is_no_token(pipeline: Pipeline) -> None:
    steps, _ = record(pipeline, mode="ar")
    step = next(step for step in steps if 8 < step.decided < 48)
    pixels = np.asarray(image_of(FrameMaker(pipeline.image_from_tokens).frame(step)))
    side = len(pixels) // len(step.tokens)
    missing = (step.shown < 0).repeat(side, axis=0).repeat(side, axis=1)
    drawn = np.asarray(pipeline.image_from_tokens(np.maximum(step.shown, 0)))
    assert missing.any()
    assert (pixels[missing] == GREY).all()
    assert np.array_equal(pixels[~missing], drawn[~missing])


def test_titles_tell_the_decode(pipeline: Pipeline) -> None:
    """Of MuLo-SD through two drafters, from the coarse draft to the result, with the counts of its trace."""
    steps, result = record(pipeline, mode="parallel", drafters=(1, 2))
    titles = [frame["title"] for frame in frames_of(steps, pipeline.image_from_tokens)]
    told = [
        title
        for title, _ in itertools.groupby(re.sub(r"[\d,]+ of|: [\d,]+ tokens? left", "", title) for title in titles)
    ]
    (first,), (second,) = result.trace.cycles_of(1), result.trace.cycles_of(0)
    assert titles[0] == "Drafter 2 draws a coarse draft, 2 x 2: 1 of 4 tokens"
    counts = [(int((~item.kept).sum()), int((item.kept & item.resampled).sum())) for item in (first, second)]
    assert (
        f"Verified by drafter 1: {counts[0][0]} of 16 tokens rejected, and {counts[0][1]} beside them drawn again"
        in titles
    )
    assert f"Verified: {counts[1][0]} of 64 tokens rejected, and {counts[1][1]} beside them drawn again" in titles
    assert [title.partition(" 2 x 2")[0] for title in told] == [
        "Drafter 2 draws a coarse draft,",
        "The draft, up-sampled to 4 x 4: drafter 1's proposal",
        next(title for title in told if title.startswith("Verified by drafter 1")),
        "Drafter 1: islands are drawn again",
        "The draft, up-sampled to 8 x 8: the target's proposal",
        next(title for title in told if title.startswith("Verified:")),
        "Islands are drawn again",
        "The result",
    ]
    left = [int(match[1]) for title in titles if (match := re.search(r"^Islands.*: (\d+) tokens? left", title))]
    assert left == sorted(left, reverse=True)


def test_titles_of_windows_say_which_rows(pipeline: Pipeline) -> None:
    steps, _ = record(pipeline, mode="serial", drafters=(1,), draft_rows=2)
    titles = [frame["title"] for frame in frames_of(steps, pipeline.image_from_tokens)]
    assert "The draft, up-sampled to 8 x 8, rows 1 to 4: the target's proposal" in titles
    assert "The draft, up-sampled to 8 x 8, rows 5 to 8: the target's proposal" in titles
    assert sum(title.startswith("Verified: ") for title in titles) == 2


def test_without_drafts_a_title_counts(pipeline: Pipeline) -> None:
    steps, _ = record(pipeline, mode="zipar")
    frame = FrameMaker(pipeline.image_from_tokens).frame(steps[5])
    assert frame["title"] == f"Drawing: {steps[5].decided} of 64 tokens"
    assert frame["detail"] == f"Passes: {steps[5].passes['target']} of the target."


@pytest.mark.parametrize("mode", ["ar", "serial", "parallel", "exact"])
@pytest.mark.parametrize("most", [1, 20, 30, 1000])
def test_thinning_keeps_the_turns_and_the_ends(mode: engines.Mode, most: int, pipeline: Pipeline) -> None:
    steps, _ = record(pipeline, mode=mode)
    chosen = chosen_steps(steps, most)
    assert turns(chosen) == turns(steps)
    assert (chosen[0], chosen[-1]) == (steps[0], steps[-1])
    numbers = [steps.index(step) for step in chosen]
    assert numbers == sorted(set(numbers))
    if most >= len(steps):
        assert chosen == steps
    else:
        needed = len(turns(steps)) + (steps[-1].kind == steps[-2].kind)
        assert len(chosen) == max(most, needed)
    if mode == "ar" and most == 20:
        assert max(np.diff(numbers)) <= 2 * len(steps) / most
