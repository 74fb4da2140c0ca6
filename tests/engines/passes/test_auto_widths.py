"""Measured widths: once for a bundle, backend and machine, never an error, and never another image."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mulo_sd.engines.backends.base import BackendError, KVCache, Tensors
from mulo_sd.engines.backends.ort.cpu import OnnxRuntimeBackend
from mulo_sd.engines.bundle import TransformerEntry, open_bundle
from mulo_sd.engines.files.kept_seconds import NAME, KeptSeconds
from mulo_sd.engines.numbers import SettingsError
from mulo_sd.engines.passes import auto_widths, pass_seconds
from mulo_sd.engines.passes.auto_widths import HALF_PRECISION_WIDTH, VARIABLE, AutoWidths, fixed_width, smaller
from mulo_sd.engines.passes.pass_seconds import measured_seconds
from mulo_sd.engines.service.pipeline import Pipeline

PROMPT = "a red circle left of a blue square"


class Counting(OnnxRuntimeBackend):
    """Counts passes by their number of tokens, and refuses those of too many."""

    most = 2**20

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.fed: list[int] = []

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> Any:
        self.fed.append(inputs["tokens"].shape[1])
        if self.fed[-1] > self.most:
            raise BackendError("too many")
        return super().score(graph, cache, inputs)


@pytest.fixture
def backend(minimal_bundle: Path) -> Counting:
    return Counting(open_bundle(minimal_bundle), 1)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder; nothing fixes the width."""
    monkeypatch.setenv("MULO_SD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path / "cache"


def test_seconds_grow_with_the_width(backend: Counting) -> None:
    """Every width as far as the grid has cells, a few times each; a pass never costs more than a wider one."""
    entry = backend.bundle.manifest.target
    seconds = measured_seconds(backend, entry, 2)
    widths = list(seconds)
    assert widths == [width for width in pass_seconds.WIDTHS if width <= widths[-1]]
    assert all(0 < seconds[width] < 1 for width in widths)
    assert list(seconds.values()) == sorted(seconds.values())
    assert set(backend.fed) == set(widths)
    assert len(backend.fed) <= pass_seconds.MAX_ROUNDS * len(widths)
    assert max(backend.fed) <= entry.grid_height * entry.grid_width


def test_measuring_ends_in_time(backend: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the first pass takes all the time that there is, its width is the only one."""
    monkeypatch.setattr(pass_seconds, "MAX_SECONDS", 0.0)
    monkeypatch.setattr(pass_seconds, "LONG_ROUND_SECONDS", 0.0)
    assert list(measured_seconds(backend, backend.bundle.manifest.target, 1)) == [1]
    assert backend.fed == [1]


def test_passes_that_cannot_be_run(backend: Counting) -> None:
    """Widths end before them; where not even one token can be fed, the decode could not be made either."""
    backend.most = 4
    assert list(measured_seconds(backend, backend.bundle.manifest.target, 2)) == [1, 2, 4]
    backend.most = 0
    with pytest.raises(BackendError, match="too many"):
        measured_seconds(backend, backend.bundle.manifest.target, 2)


def test_measured_once(backend: Counting, cache: Path) -> None:
    """In a process, and in a folder; with guidance and without are two measurements."""
    widths, entry = AutoWidths(backend.bundle, backend), backend.bundle.manifest.target
    assert backend.fed == [], "nothing before a width is asked for"
    seconds = widths.seconds(entry, 2)
    fed = len(backend.fed)
    assert widths.of(entry, 2).width in seconds
    assert len(backend.fed) == fed
    assert AutoWidths(backend.bundle, backend).seconds(entry, 2) == seconds
    assert len(backend.fed) == fed, "another pipeline reads the file"
    widths.seconds(entry, 1)
    assert len(backend.fed) > fed
    assert len(json.loads((cache / NAME).read_text())["measurements"]) == 2


def test_measured_again_the_smaller_seconds_stay(backend: Counting, cache: Path) -> None:
    """What a busy machine measured is too long; what a quiet one measured is not forgotten."""
    widths, entry = AutoWidths(backend.bundle, backend), backend.bundle.manifest.target
    quiet = widths.seconds(entry, 2)
    busy = {width: 1000 * taken if width > 1 else taken / 1000 for width, taken in quiet.items()}
    file = KeptSeconds(cache)
    assert file.write(widths._key(entry, 2), busy)
    again = AutoWidths(backend.bundle, backend)
    again.measure_again()
    seconds = again.seconds(entry, 2)
    assert seconds[1] == busy[1]
    assert all(seconds[width] < busy[width] for width in busy if width > 1)
    assert file.read(widths._key(entry, 2)) == seconds
    assert {graph for graph, _ in again._seconds} == {model.graph for model in backend.bundle.manifest.models}


def test_the_smaller_of_two_measurements() -> None:
    assert smaller({1: 2.0, 2: 4.0, 8: 5.0}, {1: 3.0, 2: 3.0, 4: 6.0}) == {1: 2.0, 2: 3.0, 4: 5.0, 8: 5.0}


def test_a_fixed_width_is_not_measured_again(backend: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "8")
    AutoWidths(backend.bundle, backend).measure_again()
    assert backend.fed == []


def test_what_a_measurement_depends_on(backend: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another graph, precision, number of threads, version or processor is another measurement."""
    bundle, entry = backend.bundle, backend.bundle.manifest.target

    def key(**changes: Any) -> str:
        manifest = bundle.manifest.model_copy(update=changes)
        return AutoWidths(type(bundle)(**(vars(bundle) | {"manifest": manifest})), backend)._key(entry, 2)

    other_graph = bundle.manifest.graphs | {entry.graph: bundle.manifest.graphs["decoder"]}
    keys = [key(), key(graphs=other_graph), key(precision="fp16")]
    backend.threads = 2
    keys.append(key())
    monkeypatch.setattr(auto_widths, "_processor", lambda: "another")
    keys.append(key())
    monkeypatch.setattr(auto_widths, "_versions", lambda: {"mulo-sd": "next"})
    keys.append(key())
    assert len(set(keys)) == len(keys)
    assert key() == keys[-1]


@pytest.mark.parametrize("folder", ["", "file/below"])
def test_nowhere_to_keep_them(folder: str, backend: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are measured again by each pipeline, and nothing is said."""
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("MULO_SD_CACHE", folder and str(tmp_path / folder))
    for _ in range(2):
        before = len(backend.fed)
        AutoWidths(backend.bundle, backend).seconds(backend.bundle.manifest.target, 2)
        assert len(backend.fed) > before
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_seconds_of_widths_that_nobody_measures(backend: Counting, cache: Path) -> None:
    """A file with a width beyond the largest is measured again."""
    widths, entry = AutoWidths(backend.bundle, backend), backend.bundle.manifest.target
    cache.mkdir()
    content = {"version": 1, "measurements": {widths._key(entry, 2): {"512": 0.1}}}
    (cache / NAME).write_text(json.dumps(content))
    assert 512 not in widths.seconds(entry, 2)


def test_a_width_of_the_environment(backend: Counting, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MULO_SD_SWEEP_WIDTH takes the place of measuring: nothing is run, read or written."""
    monkeypatch.setenv(VARIABLE, "7")
    assert AutoWidths(backend.bundle, backend).of(backend.bundle.manifest.target, 2).width == 7
    assert backend.fed == []
    assert not cache.exists()


@pytest.mark.parametrize("text", ["0", "257", "1.5", "auto", "-1"])
def test_no_width_in_the_environment(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        fixed_width({VARIABLE: text})
    assert str(caught.value).startswith(f"{VARIABLE}: expected a whole number in 1..256, got ")
    assert "\n" not in str(caught.value)


def test_an_empty_variable_is_none() -> None:
    assert fixed_width({VARIABLE: " "}) is None
    assert fixed_width({}) is None


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_in_half_precision_every_machine_takes_one_width(backend: Counting, precision: str) -> None:
    """There a pass of another width may draw another token, so nothing that is measured chooses it."""
    manifest = backend.bundle.manifest.model_copy(update={"precision": precision})
    bundle = type(backend.bundle)(**(vars(backend.bundle) | {"manifest": manifest}))
    assert AutoWidths(bundle, backend).seconds(manifest.target, 2) == {HALF_PRECISION_WIDTH: 1.0}
    assert backend.fed == []


@pytest.mark.parametrize("mode", ["ar", "exact", "serial"])
def test_measured_seconds_never_change_an_image(
    mode: Any, minimal_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was measured: other passes, the tokens of one token a pass."""
    bundle = open_bundle(minimal_bundle)
    pipeline = Pipeline(bundle, OnnxRuntimeBackend(bundle, 1))
    right = pipeline.draw(PROMPT, 5, mode, sweep_width=1)
    passes = set()
    for seconds in ({1: 1.0}, {2: 1.0, 16: 1.1}, {4: 1.0, 64: 9.0}, {256: 1.0}):
        monkeypatch.setattr(pipeline.auto_widths, "seconds", lambda entry, batch, seconds=seconds: seconds)
        made = pipeline.draw(PROMPT, 5, mode, sweep_width="auto")
        np.testing.assert_array_equal(made.tokens, right.tokens)
        passes.add(made.stats.nfe_target)
    assert len(passes) > 1


def test_a_mode_without_such_sweeps_measures_nothing(minimal_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows, islands, a limit, and a width that is given."""

    def refuse(entry: TransformerEntry, batch: int) -> dict[int, float]:
        raise AssertionError("nothing asks for a width")

    bundle = open_bundle(minimal_bundle)
    pipeline = Pipeline(bundle, OnnxRuntimeBackend(bundle, 1))
    monkeypatch.setattr(pipeline.auto_widths, "seconds", refuse)
    others: tuple[dict[str, Any], ...] = (
        {"mode": "zipar"},
        {"mode": "parallel", "resample_by": "sweeps"},
        {"mode": "parallel", "draft_by": "sweeps", "draft_sweeps": 2},
        {"mode": "ar", "sweep_width": 4},
        {"mode": "exact", "sweep_width": None},
    )
    for changes in others:
        pipeline.draw(PROMPT, 1, **changes)
    with pytest.raises(AssertionError, match="nothing asks"):
        pipeline.draw(PROMPT, 1, "ar", sweep_width="auto")


def test_requests_of_a_session_measure_once(backend: Counting, cache: Path) -> None:
    """In the middle of shared passes, and each image is the one that is drawn alone, one token a pass."""
    pipeline = Pipeline(backend.bundle, backend)
    right = [pipeline.draw(PROMPT, seed, "ar", sweep_width=1).tokens for seed in range(3)]
    with pipeline.session(3) as session:
        requests = [session.submit(PROMPT, seed, "ar", sweep_width="auto") for seed in range(3)]
        tokens = [request.result(60).tokens for request in requests]
    for one, other in zip(tokens, right, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(json.loads((cache / NAME).read_text())["measurements"]) == 1
    assert max(backend.fed) > 1
