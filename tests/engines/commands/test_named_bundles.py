"""Bundles that go by a name: a folder of that name comes first, else our bundle, which is built where there is none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mulo_sd.conformance.bench import run_demo
from mulo_sd.conformance.bench.workload import Drawing
from mulo_sd.engines.bundle import BundleError
from mulo_sd.engines.bundle.contract import SHIPPED_MODELS
from mulo_sd.engines.commands import demo_bundle
from mulo_sd.engines.commands.demo_bundle import bundle_folder, bundle_path, ready_bundle, shipped_name
from mulo_sd.engines.ingress.arguments import named_folders
from mulo_sd.engines.numbers import SettingsError
from tests.in_process import InProcess

each_name = pytest.mark.parametrize("name", SHIPPED_MODELS)


@pytest.fixture
def bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of bundles, beside an empty working folder."""
    monkeypatch.setenv(demo_bundle.ENVIRONMENT_VARIABLE, str(tmp_path / "bundles"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "bundles"


@each_name
def test_a_name_is_a_bundle_of_ours(name: str, bundles: Path) -> None:
    assert shipped_name(Path(name)) == name
    assert bundle_folder(Path(name)) == bundles / f"{name}-fp32"
    (bundles / f"{name}-fp32").mkdir(parents=True)
    said: list[str] = []
    assert ready_bundle(Path(name), "ort", said.append) == bundles / f"{name}-fp32"
    assert said == []


@each_name
def test_a_folder_of_that_name_comes_first(name: str, bundles: Path) -> None:
    Path(name).mkdir()
    assert shipped_name(Path(name)) is None
    assert ready_bundle(Path(name), "ort", print) == Path(name)


def test_no_bundle_is_the_demo(bundles: Path) -> None:
    assert shipped_name(None) == "demo"
    assert bundle_folder(None) == bundle_path("demo", "fp32") == bundles / "demo-fp32"


@pytest.mark.parametrize("folder", ["Demo", "minimal", "/demo", "bundles/demo", "demo-fp32"])
def test_other_folders_are_folders(folder: str, bundles: Path) -> None:
    assert shipped_name(Path(folder)) is None
    assert ready_bundle(Path(folder), "ort", print) == Path(folder)


@each_name
def test_what_is_not_there_is_built(name: str, bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the models of its name, once a line was said."""
    monkeypatch.setattr(demo_bundle, "check_can_build", lambda path, models: None)
    built: list[tuple[Path, bool, str]] = []

    def build(path: Path, precision: str = "fp32", plans: bool = False, models: str = "demo") -> None:
        built.append((path, plans, models))

    monkeypatch.setattr(demo_bundle, "build_demo_bundle", build)
    said: list[str] = []
    path = bundles / f"{name}-fp32"
    assert ready_bundle(Path(name), "trt-rtx", said.append) == path
    assert built == [(path, True, name)]
    assert said == [f"There is no bundle at {path}: building the {name} bundle (fp32) first, once."]


@each_name
def test_weights_that_are_not_installed(name: str, bundles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_bundle, "_weights_are_there", lambda models: False)
    with pytest.raises(BundleError, match=r'pip install "mulo-sd\[demo\]"'):
        ready_bundle(Path(name), "ort", print)


def test_a_service_takes_names() -> None:
    assert named_folders(["pictograms", "mine=demo", "x=bundles/x"]) == {
        "pictograms": "pictograms",
        "mine": "demo",
        "x": "bundles/x",
    }
    with pytest.raises(SettingsError, match="expected NAME=DIR, such as demo=bundles/demo-fp32, got 'other'"):
        named_folders(["other"])
    with pytest.raises(SettingsError, match="expected a name of its own for each"):
        named_folders(["demo", "demo=x"])


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("mulo_sd.engines.generate", ["a star", "--bundle", "demo", "--out", "a.png", "--threads", "1"]),
        ("mulo_sd.engines.check", ["demo", "--backend", "ort"]),
    ],
)
def test_commands_take_a_name(
    module: str, arguments: list[str], bundles: Path, minimal_bundle: Path, in_process: InProcess
) -> None:
    """Here a bundle of that name is there already, of models that draw faster."""
    bundles.mkdir()
    (bundles / "demo-fp32").symlink_to(minimal_bundle, target_is_directory=True)
    done = in_process.run(module, *arguments)
    assert done.returncode == 0, done.stderr
    assert "traceback" not in done.stderr.lower()


def test_the_demos_prompts_are_checked_before_a_build(
    bundles: Path, in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*given: object) -> None:
        raise AssertionError("nothing is built for a prompt that cannot be drawn")

    monkeypatch.setattr(demo_bundle, "build_demo_bundle", refuse)
    done = in_process.run("mulo_sd.engines.generate", "a fox", "--bundle", "demo", "--out", "a.png")
    assert done.returncode == 2
    assert "prompt: unknown word 'fox'" in done.stderr


def test_an_output_in_a_named_bundle_is_refused(bundles: Path, minimal_bundle: Path, in_process: InProcess) -> None:
    bundles.mkdir()
    (bundles / "demo-fp32").symlink_to(minimal_bundle, target_is_directory=True)
    out = str(bundles / "demo-fp32" / "a.png")
    done = in_process.run("mulo_sd.engines.generate", "a star", "--bundle", "demo", "--out", out)
    assert done.returncode == 2
    assert "in the bundle" in done.stderr


def test_what_is_checked_is_not_built(bundles: Path, in_process: InProcess) -> None:
    done = in_process.run("mulo_sd.engines.check", "pictograms")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {bundles / 'pictograms-fp32'}: expected a bundle's folder, found none")


def test_the_benchmark_draws_a_bundles_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """In turn, each with a seed of its own, where it has some."""

    class Manifest:
        family, example_prompts = "captioned", ("two keys", "snow")

    class Bundle:
        manifest = Manifest()

    class Pipeline:
        bundle = Bundle()

    drawings: Callable[..., list[Drawing]] = run_demo._drawings
    assert [(item.text, item.seed) for item in drawings(Pipeline(), None, 3)] == [
        ("two keys", 0),
        ("snow", 1),
        ("two keys", 2),
    ]
