"""Which world a bundle draws, by its manifest or by --world; and where its results lie."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mulo_sd.conformance.worlds.choice import (
    NAMES,
    add_world_arguments,
    asked_bundle,
    folder_of,
    sure_world_of,
    world_named,
    world_of,
)
from mulo_sd.conformance.worlds.world import WorldError
from mulo_sd.engines.bundle import Bundle, open_bundle


@pytest.fixture(scope="module")
def bundle(minimal_bundle: Path) -> Bundle:
    return open_bundle(minimal_bundle)


def called(bundle: Bundle, family: str, name: str) -> Bundle:
    """Return a bundle whose manifest says another family and name."""
    return replace(bundle, manifest=bundle.manifest.model_copy(update={"family": family, "name": name}))


@pytest.mark.parametrize(
    ("family", "name", "expected"),
    [
        ("demo", "mulo-sd demo", "demo"),
        ("demo", "mulo-sd minimal", "demo"),
        ("captioned", "mulo-sd pictograms", "pictograms"),
        ("captioned", "pictograms", "pictograms"),
        ("captioned", "my pictures", None),
        ("captioned", "demo", None),
        ("captioned", "", None),
        ("llamagen", "mulo-sd pictograms", None),
    ],
)
def test_the_manifest_tells(bundle: Bundle, family: str, name: str, expected: str | None) -> None:
    world = world_of(called(bundle, family, name))
    assert (None if world is None else world.name) == expected


def test_the_option_comes_first(bundle: Bundle) -> None:
    assert sure_world_of(called(bundle, "captioned", "my pictures"), "pictograms").name == "pictograms"


@pytest.mark.parametrize(("family", "named"), [("demo", "pictograms"), ("captioned", "demo"), ("tar", "demo")])
def test_a_world_of_another_family_is_refused(bundle: Bundle, family: str, named: str) -> None:
    with pytest.raises(WorldError, match=r"--world: expected a bundle of the family \w+ for") as raised:
        world_of(called(bundle, family, "x"), named)
    assert f"got {family} in {bundle.path}" in str(raised.value)


def test_a_bundle_of_no_world_is_refused_where_one_is_needed(bundle: Bundle) -> None:
    with pytest.raises(WorldError, match="expected a bundle of the world demo or pictograms, got 'my pictures'"):
        sure_world_of(called(bundle, "captioned", "my pictures"))


def test_a_name_of_no_world() -> None:
    assert [world_named(name).name for name in NAMES] == list(NAMES)
    with pytest.raises(WorldError, match="expected one of demo, pictograms, got 'moon'"):
        world_named("moon")


def test_a_world_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the conformance suite is installed without the demo's distribution."""
    monkeypatch.delitem(sys.modules, "mulo_sd.conformance.worlds.pictograms", raising=False)
    monkeypatch.setitem(sys.modules, "mulo_sd.reference.pictograms.captions", None)
    with pytest.raises(WorldError, match=r'^world pictograms: .* is not installed; .*"mulo-sd\[demo,captions\]"`$'):
        world_named("pictograms")


def test_a_bundle_by_option_by_name_or_by_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The folders are there, so that nothing is built."""
    monkeypatch.setenv("MULO_SD_BUNDLES", str(tmp_path))
    for name in NAMES:
        (tmp_path / f"{name}-fp32").mkdir()
    parser = argparse.ArgumentParser()
    add_world_arguments(parser)
    for arguments, expected in (
        ([], tmp_path / "demo-fp32"),
        (["--world", "pictograms"], tmp_path / "pictograms-fp32"),
        (["--bundle", "pictograms"], tmp_path / "pictograms-fp32"),
        (["--world", "pictograms", "--bundle", "mine"], Path("mine")),
    ):
        assert asked_bundle(parser.parse_args(arguments)) == expected


def test_the_demos_results_lie_where_they_did(tmp_path: Path) -> None:
    assert folder_of(tmp_path, "demo") == tmp_path
    assert folder_of(tmp_path, "pictograms") == tmp_path / "pictograms"
