"""CONF-6: images by sweeps are those of one token a pass, or part at a near-tie, and such are few."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mulo_sd.conformance.engines.cases import PROMPTS
from mulo_sd.conformance.engines.conditions import condition_of, engine_condition
from mulo_sd.conformance.engines.shapes import ALL, FEW, level_of_profile
from mulo_sd.conformance.engines.swept_images import FirstDifference, Tally, compare_widths, first_difference
from mulo_sd.conformance.rules.branches import NEAR_TIE, reach
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.loop.decode import Decoded
from mulo_sd.engines.prompts.vocabulary import TASKS
from mulo_sd.engines.service.hooks import Hooks
from mulo_sd.reference.demo import scenes

WIDTHS = (3, 16, None)
# Whatever sweeps draw in raster order: a whole grid, with and without a draft, and the rows of cycles.
KINDS: tuple[dict[str, Any], ...] = (
    {"mode": "ar", "first_guess": "left"},
    {"mode": "exact", "drafters": (1,)},
    {"mode": "exact", "drafters": (1, 2), "draft_by": "sweeps", "resample_by": "sweeps"},
)
DEMO_WIDTHS = (16, 64)


class TestConf6:
    """CONF-6 The same tokens by sweeps.

    A pass of many tokens and one of a single token differ by rounding, so that a near-tie may fall otherwise. In
    float32 a grid by sweeps equals the grid of one token a pass, or the first difference has a margin below the
    tolerance (CONF-2), and those are rare; in half precision near-ties are counted and bounded. Logits of the same
    context from passes of different widths stay within the tolerance.
    """

    @pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind['mode']}-{len(kind)}")
    def test_small_images(self, small_subject: Subject, kind: dict[str, Any]) -> None:
        """Of random models, at every width, in either precision."""
        guidance_scale = 1.2 if "guidance" in small_subject.capabilities else 1.0
        needs = {str(kind["mode"])} | ({"cascade"} if len(kind.get("drafters", ())) > 1 else set())
        if not needs <= small_subject.capabilities:
            pytest.skip(f"not applicable: the backend has no {', '.join(sorted(needs))}")
        pipeline, tally = small_subject.pipeline, Tally(small_subject.precision)
        cells = pipeline.bundle.manifest.target.grid_height * pipeline.bundle.manifest.target.grid_width
        for seed in range(40 if level_of_profile() == ALL else 4):
            prompt = PROMPTS[seed % len(PROMPTS)]
            condition = engine_condition(condition_of(small_subject.models, prompt, seed))
            differences = compare_widths(
                pipeline, condition, seed, WIDTHS, guidance_scale=guidance_scale, temperature=0.4 + seed / 8, **kind
            )
            for width, difference in differences.items():
                tally.add(difference, cells, f"seed {seed}, width {width}")
        reach(NEAR_TIE, count=tally.differences)
        tally.check()

    @pytest.mark.thorough
    def test_images_of_a_bundle(self, subject: Subject) -> None:
        """Of the bundle under test: 200 prompts in the profile nightly, else one, and none in half precision."""
        level = level_of_profile()
        if subject.precision != "fp32" and level != ALL:
            pytest.skip("not applicable: in half precision minimal images are compared, and the bundle's in nightly")
        pipeline, tally = subject.pipeline, Tally(subject.precision)
        target = pipeline.bundle.manifest.target
        for seed in range(200 if level == ALL else 1):
            scene = scenes.scene(seed // len(TASKS), scenes.HELD_OUT_SPLIT, TASKS[seed % len(TASKS)])
            text = scene.prompt.text
            condition = engine_condition(condition_of(subject.models, text, seed))
            differences = compare_widths(
                pipeline, condition, seed, DEMO_WIDTHS if level > FEW else DEMO_WIDTHS[:1], mode="ar"
            )
            for width, difference in differences.items():
                tally.add(difference, target.grid_height * target.grid_width, f"{text!r}, width {width}")
        reach(NEAR_TIE, count=tally.differences)
        tally.check()


@pytest.fixture(scope="module")
def decoded(minimal_subject: Subject) -> tuple[Any, Decoded]:
    """An image one token a pass, with logits, and its settings."""
    settings = minimal_subject.pipeline.settings(mode="ar", guidance_scale=1.2, temperature=0.8, sweep_width=1)
    condition = engine_condition(condition_of(minimal_subject.models, PROMPTS[0], 1))
    return settings, minimal_subject.pipeline.decode(condition, settings, 1, hooks=Hooks(record_logits=True))


@pytest.mark.parametrize(
    ("change", "said"),
    [(lambda ranks: ranks[-1], "no near-tie explains it"), (lambda ranks: ranks[0], "no near-tie explains it")],
    ids=["the least likely", "another likely one"],
)
def test_planted_token(
    minimal_subject: Subject, decoded: tuple[Any, Decoded], change: Callable[[Any], int], said: str
) -> None:
    """A token that no rounding explains fails, and the message says where."""
    settings, narrow = decoded
    wide = replace(narrow, tokens=narrow.tokens.copy())
    row = next(made.logits for made in reversed(narrow.trace.passes) if made.logits is not None)[0, -1]
    ranks = [code for code in np.argsort(row)[::-1].tolist() if code != int(narrow.tokens.flat[40])]
    wide.tokens.flat[40] = change(ranks)
    difference = first_difference(minimal_subject.pipeline, settings, 1, narrow, wide)
    assert difference is not None
    assert difference.cell == 40
    with pytest.raises(AssertionError, match=f"seed 1, cell 40: .* one by one.*{said}"):
        Tally("fp32").add(difference, 64, "seed 1")


def test_planted_logits(minimal_subject: Subject, decoded: tuple[Any, Decoded]) -> None:
    """A near-tie is no excuse for logits that are further apart than the tolerance."""
    settings, narrow = decoded
    wide = replace(narrow, tokens=narrow.tokens.copy(), trace=copy.deepcopy(narrow.trace))
    wide.tokens.flat[63] = (wide.tokens.flat[63] + 1) % 48
    last = wide.trace.passes[-1]
    assert last.logits is not None
    last.logits[:, -1] += 0.5
    difference = first_difference(minimal_subject.pipeline, settings, 1, narrow, wide)
    assert difference is not None
    with pytest.raises(AssertionError, match="passes of different widths disagree"):
        Tally("fp32").add(replace(difference, near_tie=True), 64, "seed 1")


def test_too_many_differences() -> None:
    """Near-ties are counted, and one image in very many cells may part, not two."""
    tally = Tally("fp32")
    for _ in range(2):
        tally.check()
        tally.add(FirstDifference(9, 1e-5, 1e-3, True, (1, 2)), 64, "seed 1")
    with pytest.raises(AssertionError, match="2 of 2 images by sweeps leave"):
        tally.check()
