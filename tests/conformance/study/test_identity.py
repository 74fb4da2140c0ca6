"""What names a variant's images: all that they depend on, and nothing else."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mulo_sd import engines
from mulo_sd.conformance.study.sweeps import BY_SWEEPS, FOR_SWEEPS, NO_LIMIT
from mulo_sd.conformance.study.variant import Variant, identity
from mulo_sd.conformance.study.variants import variants_of


@pytest.fixture(scope="module")
def pipeline(demo_bundle: Path) -> engines.Pipeline:
    return engines.load(demo_bundle, threads=1)


def with_manifest(pipeline: engines.Pipeline, **changes: Any) -> engines.Pipeline:
    """Return a pipeline over the same files whose manifest differs."""
    manifest = pipeline.bundle.manifest.model_copy(update=changes)
    return engines.Pipeline(replace(pipeline.bundle, manifest=manifest), pipeline.backend)


def named(pipeline: engines.Pipeline, oracle: bool = False, **settings: Any) -> str:
    return identity(Variant("x", "controls", settings, oracle), pipeline)


@pytest.mark.parametrize("settings", [{"mode": "ar"}, {"mode": "zipar", "window": 3}])
def test_modes_without_drafters_do_not_depend_on_the_default(
    pipeline: engines.Pipeline, settings: dict[str, Any]
) -> None:
    default = pipeline.settings(tau=0.37, radius=5, up_sampler="latent", island_window=2)
    assert named(with_manifest(pipeline, settings=default), **settings) == named(pipeline, **settings)


def test_rows_by_sweeps_follow_a_bundle_whose_own_settings_are_by_sweeps(pipeline: engines.Pipeline) -> None:
    """What else goes with sweeps on the demo, whose own are by windows, is no advice for another world."""
    (row,) = [item for item in variants_of(["sweeps"]) if item.name == NO_LIMIT]
    own = pipeline.settings()
    assert own.resample_by == "windows"
    assert pipeline.settings(**row.changes(own)) == pipeline.settings(**BY_SWEEPS, **FOR_SWEEPS)
    swept = pipeline.settings(**BY_SWEEPS, radius=3, anchor=32.0)
    other = with_manifest(pipeline, settings=swept)
    assert identity(row, other) == identity(Variant("x", "controls"), other) != identity(row, pipeline)


def test_a_new_drafter_changes_only_what_it_drafts(pipeline: engines.Pipeline) -> None:
    target, first, *others = pipeline.bundle.manifest.models
    trained = first.model_copy(update={"weights_sha256": "0" * 64})
    other = with_manifest(pipeline, models=(target, trained, *others))
    assert named(other, mode="ar") == named(pipeline, mode="ar")
    assert named(other, drafters=(2,)) == named(pipeline, drafters=(2,))
    assert named(other, drafters=(1,)) != named(pipeline, drafters=(1,))


@pytest.mark.parametrize(("mode", "part"), [("eagle", "head"), ("lantern-plus", "head"), ("specdec", "block")])
def test_a_new_head_or_block_drafter_changes_only_what_it_drafts(
    pipeline: engines.Pipeline, mode: str, part: str
) -> None:
    """The bundle may hold neither: entries of the target stand for them, of which nothing but the weights is read."""
    manifest = pipeline.bundle.manifest
    there = with_manifest(pipeline, branched=manifest.target, head=manifest.target, block=manifest.target)
    trained = manifest.target.model_copy(update={"weights_sha256": "0" * 64})
    other = with_manifest(there, **{part: trained})
    assert named(other, mode=mode) != named(there, mode=mode)
    for unchanged in ("ar", "sjd", "parallel", "specdec" if part == "head" else "eagle"):
        assert named(other, mode=unchanged) == named(there, mode=unchanged)


def test_a_new_latent_sampler_changes_only_what_it_makes(pipeline: engines.Pipeline) -> None:
    hashes = pipeline.bundle.manifest.latent_sha256
    assert set(hashes) == {f"{way}_sampler_{ratio}_latent" for way in ("up", "down") for ratio in (2, 4)}
    other = with_manifest(pipeline, latent_sha256=hashes | {"up_sampler_4_latent": "0" * 64})
    assert named(other, up_sampler="latent") != named(pipeline, up_sampler="latent")
    serial: dict[str, Any] = {"mode": "serial", "down_sampler": "latent"}  # whole images are never down-sampled
    assert named(other, **serial) != named(pipeline, **serial)
    assert named(other, down_sampler="latent") == named(pipeline, down_sampler="latent")
    assert named(other, up_sampler="bicubic") == named(pipeline, up_sampler="bicubic")
    assert named(other, mode="ar", up_sampler="latent") == named(pipeline, mode="ar")


def test_what_images_depend_on_tells_variants_apart(pipeline: engines.Pipeline) -> None:
    asked: list[dict[str, Any]] = [
        {"mode": "ar"},
        {"mode": "ar", "top_p": 0.5},
        {"mode": "zipar", "window": 3},
        {"mode": "zipar", "window": 4},
        {"mode": "zipar", "window": 4, "adaptive_window": True},
        {"mode": "parallel"},
        {"mode": "parallel", "island_window": None},
        {"mode": "parallel", "oracle": True},
        {"mode": "parallel", "tau": 0.0},
    ]
    assert len({named(pipeline, **settings) for settings in asked}) == len(asked)
