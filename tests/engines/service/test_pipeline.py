"""The settings of a pipeline: what the bundle does not hold is refused in one line before anything is decoded."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mulo_sd.engines.backends import make_backend
from mulo_sd.engines.backends.ort.cpu import OnnxRuntimeBackend
from mulo_sd.engines.bundle import BundleError, open_bundle
from mulo_sd.engines.service.load import load
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.settings import Mode, Settings, SettingsError

PRESETS: dict[str, dict[str, Any]] = {
    "few-passes": {"mode": "parallel", "resample_by": "sweeps", "sweeps": 2, "neighbours": 3},
    "alone": {"mode": "ar", "neighbours": 1, "drafters": (7,)},
}


def opened(folder: Path) -> Pipeline:
    bundle = open_bundle(folder)
    return Pipeline(bundle, OnnxRuntimeBackend(bundle, 1))


def changed_copy(bundle: Path, folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Copy a bundle with another manifest."""
    copy = Path(shutil.copytree(bundle, folder / "bundle"))
    content = json.loads((copy / "manifest.json").read_text())
    change(content)
    (copy / "manifest.json").write_text(json.dumps(content))
    return copy


def allow_two_neighbours(manifest: dict[str, Any]) -> None:
    manifest["settings"].update(neighbours=2, tau=0.25, window=3)
    manifest["presets"] = {name: Settings(**settings).model_dump() for name, settings in PRESETS.items()}


@pytest.fixture
def pipeline(tiny_bundle: Path, tmp_path: Path) -> Pipeline:
    """The tiny bundle, which holds one drafter, bicubic up- and area down-sampling, and three neighbours."""
    return opened(changed_copy(tiny_bundle, tmp_path, allow_two_neighbours))


def test_bundles_settings_with_some_changed(pipeline: Pipeline) -> None:
    expected = Settings(neighbours=2, tau=0.25, window=3)
    assert pipeline.settings() == expected
    assert pipeline.settings(mode="zipar", tau=None, radius=2) == expected.changed(mode="zipar", radius=2)
    assert pipeline.settings(window=None).window is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"neighbours": 4}, "neighbours: expected at most 3, as the bundle holds, got 4"),
        ({"drafters": (2,)}, "drafters: expected models in 1..1, got 2"),
        ({"drafters": (1, 2), "mode": "parallel"}, "drafters: expected models in 1..1, got 2"),
        ({"up_sampler": "latent"}, "up_sampler: expected one of bicubic, got 'latent'"),
        ({"up_sampler": "nearest", "mode": "parallel"}, "up_sampler: expected one of bicubic, got 'nearest'"),
        ({"down_sampler": "bicubic", "mode": "serial"}, "down_sampler: expected one of area, got 'bicubic'"),
        ({"tau": "high"}, "tau: "),
        ({"preset": "fast"}, "preset: expected one of few-passes, alone, got 'fast'"),
        ({"preset": ["alone"]}, "preset: expected one of few-passes, alone, got ['alone']"),
        ({"preset": "alone", "neighbours": 4}, "neighbours: expected at most 3, as the bundle holds, got 4"),
        ({"rows": 3}, "rows: "),
    ],
)
def test_what_the_bundle_does_not_hold(pipeline: Pipeline, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError) as caught:
        pipeline.settings(**changes)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_a_preset_takes_the_place_of_the_bundles_settings(pipeline: Pipeline) -> None:
    """And other settings change it as they change those."""
    assert pipeline.settings("few-passes") == Settings(**PRESETS["few-passes"])
    assert pipeline.settings(preset="alone", tau=0.5) == Settings(**PRESETS["alone"], tau=0.5)
    assert pipeline.settings(preset=None) == pipeline.settings()


def test_a_bundle_without_presets(tiny_bundle: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        opened(tiny_bundle).settings("passes")
    assert str(caught.value) == "preset: expected none, since the bundle holds no presets, got 'passes'"


@pytest.mark.parametrize("mode", ["ar", "zipar"])
def test_undrafted_modes_need_no_drafter(pipeline: Pipeline, mode: str) -> None:
    """Nor a graph of another up-sampler."""
    assert pipeline.settings(mode=mode, drafters=(2,), up_sampler="latent").model_numbers == (0,)


def test_parallel_needs_no_down_sampler(pipeline: Pipeline) -> None:
    assert pipeline.settings(mode="parallel", down_sampler="bicubic").down_sampler == "bicubic"


def test_target_alone(tiny_bundle: Path, tmp_path: Path) -> None:
    """A bundle without drafters serves the modes that need none."""

    def leave_the_target(manifest: dict[str, Any]) -> None:
        manifest["settings"].update(mode="ar", neighbours=2)
        manifest["models"].pop()

    pipeline = opened(changed_copy(tiny_bundle, tmp_path, leave_the_target))
    assert pipeline.settings().model_numbers == (0,)
    with pytest.raises(
        SettingsError, match=r"^mode: expected one of ar, zipar, [^\n]*, since the bundle holds no drafter"
    ):
        pipeline.settings(mode="serial")


@pytest.mark.parametrize(
    ("mode", "entries", "said"),
    [
        ("eagle", ("head",), "mode eagle: expected a bundle with a head, got "),
        ("specdec", ("block",), "mode specdec: expected a bundle with a block drafter, got "),
        ("pjd", ("head", "branched"), "mode pjd: expected a bundle with the graph target_branched, got "),
    ],
)
def test_what_drafts_is_not_there(
    mode: Mode, entries: tuple[str, ...], said: str, minimal_bundle: Path, tmp_path: Path
) -> None:
    """As in bundles that were built before."""

    def leave_out(manifest: dict[str, Any]) -> None:
        for name in entries:
            manifest[name] = None

    pipeline = opened(changed_copy(minimal_bundle, tmp_path, leave_out))
    with pytest.raises(SettingsError, match=f"^{said}[^\\n]*which has none; build it again"):
        pipeline.settings(mode=mode)


@pytest.mark.parametrize("threads", [0, -1, 1025, 20_000, 1.0, "2", True])
def test_what_is_no_number_of_threads(tiny_bundle: Path, threads: Any) -> None:
    """It is said before anything is opened."""
    said = r"^threads: expected a whole number in 1\.\.1024, got [^\n]*$"
    with pytest.raises(SettingsError, match=said):
        load(tiny_bundle.parent / "nowhere", threads=threads)
    with pytest.raises(SettingsError, match=said):
        make_backend("ort", open_bundle(tiny_bundle), threads)


@pytest.mark.parametrize("number", ["measured_error", "tolerance", "build_seconds"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_manifests_numbers_are_finite(tiny_bundle: Path, tmp_path: Path, number: str, value: float) -> None:
    """JSON that Python writes may hold NaN and Infinity."""
    copy = changed_copy(tiny_bundle, tmp_path, lambda manifest: manifest["graphs"]["target"].update({number: value}))
    with pytest.raises(BundleError, match=rf"graphs\.target\.{number}: "):
        open_bundle(copy)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.1", True])
def test_a_manifests_settings_are_numbers(tiny_bundle: Path, tmp_path: Path, value: object) -> None:
    copy = changed_copy(tiny_bundle, tmp_path, lambda manifest: manifest["settings"].update(tau=value))
    with pytest.raises(BundleError, match=r"settings\.tau: tau: expected a number in "):
        open_bundle(copy)


def test_other_grammar(tiny_bundle: Path, tmp_path: Path) -> None:
    """A bundle of another prompt grammar is refused, since its prefixes would mean something else."""
    copy = changed_copy(tiny_bundle, tmp_path, lambda manifest: None)
    bundle = open_bundle(copy)
    (copy / "prompt_grammar.json").write_text("{}")  # as another version would have written it
    with pytest.raises(BundleError, match=r"prompt_grammar\.json: expected this version's prompt grammar, got another"):
        Pipeline(bundle, OnnxRuntimeBackend(bundle, 1))
