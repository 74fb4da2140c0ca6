"""The engines decode published models as the reference does, with each family's conditions."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from mulo_sd import engines
from mulo_sd.export.published import load_published, published_settings
from mulo_sd.reference.decode import decode
from mulo_sd.reference.models import Condition
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.weights import WeightsError
from tests.reference.checkpoints import published

SETTINGS: dict[str, dict[str, Any]] = {
    "ar": {"mode": "ar", "guidance_scale": 7.5, "top_k": 100},
    "zipar": {"mode": "zipar", "guidance_scale": 4.0, "window": 2},
    "serial": {"mode": "serial", "guidance_scale": 3.0, "tau": 0.05, "neighbours": 8, "draft_rows": 2},
    "parallel": {"mode": "parallel", "guidance_scale": 7.5, "top_k": 100, "tau": 0.05, "neighbours": 8, "radius": 1},
    "exact": {"mode": "exact", "guidance_scale": 2.0, "temperature": 0.5, "neighbours": 8},
    "unguided": {"mode": "parallel", "guidance_scale": 1.0, "tau": 0.02, "neighbours": 8},
}

# Of families that have a head.
HEADED: dict[str, dict[str, Any]] = {
    "eagle": {"mode": "eagle", "guidance_scale": 7.5, "top_k": 100, "draft_length": 3},
    "eagle-tree": {"mode": "eagle-tree", "guidance_scale": 2.0, "tree_top": 3, "tree_depth": 3},
    "lantern-plus": {"mode": "lantern-plus", "guidance_scale": 1.0, "lantern_plus_neighbours": 3},
}


def condition(name: str) -> Condition:
    """Return a fixture's condition; a caption's has padding on its left."""
    fixture = {"t2i": "llamagen_t2i_tiny", "c2i": "llamagen_c2i_tiny", "tar": "tar_ardtok_tiny"}[name]
    answers = published.answers(fixture)
    if name == "c2i":
        return Condition(answers["cond"][1].reshape(1, 1))
    shown = answers["cond_mask"][1].bool() if name == "t2i" else None
    return Condition(answers["cond"][1], shown=shown)


def padded_on_the_right(left: Condition) -> Condition:
    """Return a caption's condition as published code makes it with `--no-left-padding`."""
    assert left.shown is not None
    count = int(left.shown.sum())
    return Condition(left.cond.roll(count, 0), shown=left.shown.roll(count, 0))


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        *((name, chosen) for name in ("t2i", "t2i right", "c2i", "tar") for chosen in SETTINGS),
        *((name, chosen) for name in ("t2i", "t2i right", "c2i") for chosen in HEADED),
    ],
)
def test_the_references_decode(tiny: Callable[..., Any], name: str, chosen: str) -> None:
    """Tokens, passes and their positions are equal; each model has its own null condition."""
    name, *padding = name.split()
    made, asked = tiny(name), condition(name)
    asked = padded_on_the_right(asked) if padding else asked
    settings = (SETTINGS | HEADED)[chosen]
    expected = decode(made.models, asked, Settings(**settings), seed=7)
    given = engines.Condition(asked.cond.numpy(), shown=None if asked.shown is None else asked.shown.numpy())
    found = made.pipeline.generate(given, seed=7, **settings)
    assert found.tokens.tolist() == expected.tokens.tolist()
    assert len(found.trace.passes) == len(expected.trace.passes)
    for ours, theirs in zip(found.trace.passes, expected.trace.passes, strict=True):
        assert ours.positions.tolist() == theirs.positions.tolist()
    if asked.shown is not None:
        fed = int(asked.shown.sum()) + len(padding)  # a last token that is hidden is fed, too
        assert len(found.trace.passes[0].positions) == fed < len(asked.shown)
    assert found.image.size == (128, 128)
    assert found.plan is None


@pytest.mark.parametrize("mode", ["serial", "parallel", "exact"])
def test_a_cascade_of_three_grids(tiny: Callable[..., Any], mode: str) -> None:
    """As of AR-DTok at 1024, 512 and 256 pixels: each finer model decides what the coarser one drafted."""
    made, asked = tiny("tar3"), condition("tar")
    assert [model.config.grid_height for model in (made.models.target, *made.models.drafters)] == [8, 4, 2]
    assert published_settings(made.models).drafters == (1, 2)
    settings: dict[str, Any] = {"mode": mode, "drafters": (1, 2), "guidance_scale": 4.0, "tau": 0.03, "draft_rows": 1}
    expected = decode(made.models, asked, Settings(**settings), seed=8)
    found = made.pipeline.generate(engines.Condition(asked.cond.numpy()), seed=8, **settings)
    assert found.tokens.tolist() == expected.tokens.tolist()
    assert {item.model for item in found.trace.passes} == {0, 1, 2}


def test_null_conditions_are_each_models_own(tiny: Callable[..., Any]) -> None:
    bundle, models = tiny("t2i").pipeline.bundle, tiny("t2i").models
    for null, model in zip(bundle.null_conditions, (models.target, *models.drafters), strict=True):
        assert np.array_equal(null, model.null_condition().numpy())
    assert not np.array_equal(*bundle.null_conditions)
    assert tiny("c2i").pipeline.bundle.null_conditions[0].tolist() == [[10]]
    assert not tiny("tar").pipeline.bundle.null_conditions[0].any()


@pytest.mark.parametrize(
    ("name", "wrong", "told"),
    [
        ("t2i", engines.Condition(np.zeros((120, 31), dtype=np.float32)), r"expected float32 \(120, 32\), got"),
        ("t2i", engines.Condition(np.zeros((119, 32), dtype=np.float32)), r"expected float32 \(120, 32\), got"),
        ("t2i", engines.Condition(np.full((120, 32), np.nan, dtype=np.float32)), "expected finite numbers"),
        ("c2i", engines.Condition(np.zeros((1, 1), dtype=np.float32)), r"expected int64 \(1, 1\), got float32"),
        ("tar", engines.Condition(np.zeros((9, 24), dtype=np.float64)), "got float64"),
    ],
)
def test_conditions_that_do_not_fit(tiny: Callable[..., Any], name: str, wrong: engines.Condition, told: str) -> None:
    with pytest.raises(engines.ConditionError, match=told):
        tiny(name).pipeline.generate(wrong)


def test_ids_of_classes_that_are_not_there(tiny: Callable[..., Any]) -> None:
    with pytest.raises(engines.ConditionError, match="expected ids in"):
        tiny("c2i").pipeline.generate(engines.Condition(np.array([[11]])))


def test_semantic_ids_become_features(tiny: Callable[..., Any]) -> None:
    """The bundle's own graph makes them, and a decode takes them."""
    made = tiny("tar")
    ids = np.arange(9) * 5
    found = made.pipeline.front_end.from_ids(ids)
    assert found.cond.shape == (9, 24)
    assert made.pipeline.generate(found, seed=1).tokens.shape == (8, 8)
    for wrong in (ids[:8], ids.astype(np.int32), ids + 10, -ids):
        with pytest.raises(engines.ConditionError, match=r"ids: expected int64 \(9,\) in 0\.\.49"):
            made.pipeline.front_end.from_ids(wrong)


@torch.inference_mode()
def test_files_are_held_against_each_other(tiny: Callable[..., Any]) -> None:
    t2i, c2i, tar = (tiny(name).files for name in ("t2i", "c2i", "tar"))
    for wrong, told in (
        (replace(t2i, drafters=c2i.drafters), "expected a condition like the target's, 120 x 32"),
        (replace(t2i, drafters=(t2i.target,)), "expected a coarser grid than 8"),
        (replace(t2i, vq=t2i.target), "missing: "),
        (replace(t2i, target=t2i.vq, pixels=(128, 64)), "expected a transformer"),
        (replace(tar, target=t2i.target), "expected an AR-DTok"),
        (replace(t2i, pixels=(128,)), "pixels: expected 2"),
        (replace(t2i, pixels=(128, 60)), "multiple of 16"),
        (replace(t2i, drafters=t2i.drafters * 10), "drafter: expected at most"),
    ):
        with pytest.raises(WeightsError, match=told):
            load_published(wrong)
    with pytest.raises(WeightsError, match="expected them of family tar alone"):
        replace(t2i, ta_tok=tar.ta_tok)
    with pytest.raises(WeightsError, match="expected 729, 169 or 81"):
        replace(tar, semantic_ids=9)


def test_a_target_alone(tiny: Callable[..., Any]) -> None:
    """Published class models have no coarser ones: their bundle starts from ZipAR."""
    models = load_published(replace(tiny("c2i").files, drafters=()))
    assert models.drafters == ()
    assert published_settings(models).mode == "zipar"
    assert published_settings(tiny("c2i").models).drafters == (1,)
    assert published_settings(tiny("t2i").models).top_k == 1000
    assert published_settings(tiny("tar").models).guidance_scale == 4


def test_heads_that_do_not_fit_are_told(tiny: Callable[..., Any]) -> None:
    """One line each: of another family, of another target, or no head."""
    files, other = tiny("t2i").files, tiny("tar").files
    with pytest.raises(WeightsError, match="expected a head of family llamagen alone, got one of tar"):
        replace(other, head=files.head)
    with pytest.raises(WeightsError, match="expected a drafting head"):
        load_published(replace(files, head=files.target))
    torch.save(torch.load(files.head) | {"fc.bias": torch.zeros(3)}, files.head.with_name("other.bin"))
    with pytest.raises(WeightsError, match=r"misshapen: fc\.bias"):
        load_published(replace(files, head=files.head.with_name("other.bin")))
