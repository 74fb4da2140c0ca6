"""Indexes of weights in several files: those that are wrong are refused in one line."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from mulo_sd.reference.checkpoints import shards
from mulo_sd.reference.checkpoints.llamagen import load_llamagen
from tests.reference.checkpoints import published
from tests.reference.checkpoints.published import MakeWeights
from tests.reference.checkpoints.refusals import HEADS, SIDE, refusal


@pytest.fixture
def index(make_weights: MakeWeights, tmp_path: Path) -> Path:
    """An index of one file, in a folder beside which another one lies."""
    tensors = published.weights("llamagen_c2i_tiny", make_weights)
    folder = tmp_path / "model"
    folder.mkdir()
    save_file(tensors, folder / "a.safetensors")
    save_file(tensors, tmp_path / "outside.safetensors")
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": dict.fromkeys(tensors, "a.safetensors")}))
    assert load_llamagen(path, SIDE, HEADS)
    return path


def test_indexes_reach_nothing_outside_their_folder(index: Path) -> None:
    outside = index.parent.parent / "outside.safetensors"
    for place in ("../outside.safetensors", str(outside), "..", ".", "", "b/../a.safetensors", "..\\a", "C:a", "a\0b"):
        index.write_text(json.dumps({"weight_map": {"a": "a.safetensors", "b": place}}))
        assert "expected names of files beside it, got" in refusal(index)


def test_wrong_indexes(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places: dict[str, Any] = json.loads(index.read_text())["weight_map"]
    for content, told in (
        ({}, "got other JSON"),
        ({"weight_map": []}, "got other JSON"),
        ({"weight_map": {}}, "got other JSON"),
        ({"weight_map": {"a": 3}}, "got other JSON"),
        (
            {"weight_map": places | {"extra": "a.safetensors"}},
            "expected the tensor extra in 'a.safetensors', found none",
        ),
        ({"weight_map": places | {"extra": "b.safetensors"}}, "expected 'b.safetensors' beside it, found none"),
        ({"weight_map": {f"a{n}": f"{n}.safetensors" for n in range(2000)}}, "expected at most 1000 files"),
        ({"weight_map": places | {"norm.weight": index.name}}, "got another index"),
        ({"weight_map": {"norm.weight": "a.safetensors"}}, "expected a transformer"),
    ):
        index.write_text(json.dumps(content))
        assert told in refusal(index)
    index.write_text("[" * 100_000)
    assert "begins with" in refusal(index)
    index.write_text('{"weight_map": ' + "[" * 100_000)
    assert "got no JSON" in refusal(index)
    monkeypatch.setattr(shards, "MAX_INDEX_BYTES", 8)
    index.write_text(json.dumps({"weight_map": places}))
    assert "expected an index of at most 8 bytes" in refusal(index)
    monkeypatch.undo()
    monkeypatch.setattr(shards, "MAX_WEIGHT_BYTES", 100)
    assert "expected at most 100 bytes in its files" in refusal(index)


def test_one_of_several_files(index: Path) -> None:
    whole = index.parent / "a.safetensors"
    part = whole.rename(index.parent / "model-00001-of-00002.safetensors")
    assert f"got one of several files; give {index}" in refusal(part)
