"""Models of captioned pictures: every text is a prompt, and the bundle's own tokenizer makes it a condition."""

import hashlib
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from mulo_sd.engines.backends.ort.cpu import OnnxRuntimeBackend
from mulo_sd.engines.bundle import BundleError, open_bundle
from mulo_sd.engines.condition import ConditionError
from mulo_sd.engines.conditions.captioned import CaptionedFrontEnd
from mulo_sd.engines.prompts import Plan, PlanError, PlannedObject, PromptError
from mulo_sd.engines.service.pipeline import Pipeline
from tests.trained_models import CAPTIONS, IDS, captions

PREFIX = 2  # of the tiny bundle


def entry_of(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {"path": path.name, "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}


def change(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    for entry in manifest["models"]:
        entry |= {"condition_width": 1, "condition_ids": IDS}
    (folder / "manifest.json").write_text(json.dumps(manifest | changes))


@pytest.fixture
def folder(tiny_bundle: Path, tmp_path: Path) -> Path:
    """The tiny bundle as one of models that take captions, to break."""
    copy = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    captions().save(copy / "captions.json")
    (copy / "prompt_grammar.json").unlink()
    captioned = {"family": "captioned", "captions": entry_of(copy / "captions.json"), "prompt_grammar": None}
    change(copy, **captioned, name="tiny", example_prompts=CAPTIONS[:2])
    return copy


def opened(folder: Path) -> Pipeline:
    bundle = open_bundle(folder)
    return Pipeline(bundle, OnnxRuntimeBackend(bundle, 1))


@pytest.fixture
def pipeline(folder: Path) -> Pipeline:
    """A pipeline over it."""
    return opened(folder)


def test_a_prompt_is_its_ids(pipeline: Pipeline) -> None:
    """Whatever the seed; guidance's other half is the null condition."""
    for prompt in ("snow", "Snow", "keys", "ü"):
        for seed in (0, 7):
            described = pipeline.describe(prompt, seed)
            assert described.condition.cond.tolist() == [[number] for number in padded(prompt)]
            assert described.condition.uncond is not None
            assert described.condition.uncond.tolist() == [[1]] * PREFIX
            assert described.plan is None
    assert pipeline.front_end.example_prompts == CAPTIONS[:2]


def padded(prompt: str) -> list[int]:
    return [*captions().ids(prompt), *[2] * PREFIX][:PREFIX]


def test_a_prompt_that_is_cut_says_so(pipeline: Pipeline) -> None:
    exact = next(text for text in ("snow", "a fox", "key", "a") if len(captions().ids(text)) <= PREFIX)
    assert pipeline.describe(exact).note is None
    long, count = CAPTIONS[0], len(captions().ids(CAPTIONS[0]))
    assert count > PREFIX
    expected = f"prompt: cut, since the models see {PREFIX} ids of a caption, and it has {count}"
    assert pipeline.describe(long).note == expected


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("", "prompt: it is empty; say what to draw, such as 'a red fox in the snow'"),
        (" \n", "prompt: it is empty"),
        ("a" * 4001, "prompt: expected at most 4000 characters, got 4001; shorten it"),
        ("a\x00", "prompt: expected text without control characters"),
        ("\ud800", "prompt: expected Unicode text"),
    ],
)
def test_what_is_no_prompt(prompt: str, told: str, pipeline: Pipeline) -> None:
    for use in (pipeline.check_prompt, pipeline.describe):
        with pytest.raises(PromptError) as caught:
            use(prompt)
        assert str(caught.value).startswith(told)
    pipeline.check_prompt("<null> \t anything, in any language: 狐")


def test_no_text_spells_a_special_id(pipeline: Pipeline) -> None:
    for text in ("<none>", "<null>", "<padding>", "a <null>"):
        assert min(pipeline.describe(text).condition.cond[:, 0]) >= len("123")


def test_a_plan_is_refused(pipeline: Pipeline) -> None:
    plan = Plan(objects=(PlannedObject(shape="star", colour="red", x=1, y=1, size=1),))
    with pytest.raises(PlanError, match="expected none for models that take captions, got one; leave it out"):
        pipeline.describe("snow", plan=plan)


def test_another_tokenizer_is_refused(folder: Path) -> None:
    """Also one that the manifest vouches for: of another kind, or of ids that a model does not know."""
    (folder / "captions.json").write_text("{}")
    change(folder, captions=entry_of(folder / "captions.json"))
    with pytest.raises(
        BundleError, match=r"captions\.json: expected byte-level BPE .*; build it again with "
    ) as caught:
        opened(folder)
    assert str(caught.value).endswith(" and, after --trained, the folder of models that it was built from")
    captions().save(folder / "captions.json")
    change(folder, captions=entry_of(folder / "captions.json"))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["models"][1]["condition_ids"] = IDS - 1
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=f"at most the {IDS - 1} ids that the models know, got {IDS}"):
        opened(folder)


def test_the_file_is_the_bundles(folder: Path) -> None:
    (folder / "captions.json").write_bytes((folder / "captions.json").read_bytes().replace(b"fox", b"box"))
    with pytest.raises(BundleError, match=r"captions\.json: expected sha256 "):
        open_bundle(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"captions": None},
        {"family": "demo"},
        {"family": "tar"},
        {"example_prompts": ["two\nlines"]},
        {"example_prompts": [""]},
        {"example_prompts": ["a"] * 17},
        {"example_prompts": ["a" * 5000]},
    ],
)
def test_manifests_that_are_refused(changes: dict[str, object], folder: Path) -> None:
    change(folder, **changes)
    with pytest.raises(BundleError, match=r"^[^\n]*manifest\.json: [^\n]*$"):
        open_bundle(folder)


def test_a_manifest_of_more_than_one_id(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    for entry in manifest["models"]:
        entry["condition_width"] = 3
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="expected one id a prefix token, got 3"):
        open_bundle(folder)


def test_without_the_library(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle opens, and takes conditions in numbers; a prompt says what to install."""
    expected = opened(folder).describe("snow").condition
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    pipeline = opened(folder)
    assert isinstance(pipeline.front_end, CaptionedFrontEnd)
    assert pipeline.describe(expected).condition is expected
    for use in (pipeline.check_prompt, pipeline.describe):
        with pytest.raises(ConditionError, match=r"install the extra `mulo-sd\[captions\]`, or give a condition"):
            use("snow")
