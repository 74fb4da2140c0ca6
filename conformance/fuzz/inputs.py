"""What comes from outside: how each kind is read, a right example, and the error that a wrong one must give."""

import json
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis.strategies as st
import numpy as np
import torch
from torch import nn

from mulo_sd.conformance.calibrate.prompts import PromptFileError, read_prompts
from mulo_sd.conformance.fuzz.mutations import json_files, mutated_bytes, mutated_json
from mulo_sd.conformance.known_failures import KnownFailuresError, read_known_failures
from mulo_sd.conformance.study.rows import ROWS_NAME, StudyError, read_rows
from mulo_sd.conformance.vectors.folder import MANIFEST_NAME as VECTORS_MANIFEST
from mulo_sd.conformance.vectors.folder import VectorsError, read_arrays, read_cases
from mulo_sd.engines.bundle import BundleError, open_bundle
from mulo_sd.engines.bundle.manifest import MANIFEST_NAME
from mulo_sd.engines.commands.layouts import LayoutError, read_tasks
from mulo_sd.engines.condition import ConditionError
from mulo_sd.engines.conditions import load_condition
from mulo_sd.engines.prompts import PlanError, PromptError, load_plan, make_plan, parse
from mulo_sd.reference import minimal
from mulo_sd.reference.checkpoints.llamagen import load_llamagen
from mulo_sd.reference.tokenizer import Tokenizer
from mulo_sd.reference.transformer import Transformer, TransformerConfig
from mulo_sd.reference.weights import (
    AnyConfig,
    WeightsError,
    load_latent_up_sampler,
    load_tokenizer,
    load_transformer,
    save_weights,
)


class Input(NamedTuple):
    """A kind of input.

    Attributes:
        name: For messages.
        files: Wrong ones.
        read: Reads a file; what a file's own error class says is right.
        error: That class.
    """

    name: str
    files: st.SearchStrategy[bytes]
    read: Callable[[Path], object]
    error: type[Exception]


def _in_folder(name: str, read: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return a reader of a folder in which a file lies under a name."""

    def read_folder(path: Path) -> object:
        path.replace(path.parent / name)
        return read(path.parent)

    return read_folder


def _read_text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def _prompt(path: Path) -> object:
    return make_plan(parse(_read_text(path)), 0)


def _arrays(**arrays: Any) -> Callable[[Path], bytes]:
    def write(folder: Path) -> bytes:
        np.savez(folder / "a.npz", **arrays)
        return (folder / "a.npz").read_bytes()

    return write


def _checkpoint(folder: Path) -> bytes:
    """A published transformer of a few numbers."""
    config = TransformerConfig(
        2,
        2,
        vocabulary=8,
        layers=1,
        heads=1,
        dim=8,
        prefix_length=1,
        prefix_vocabulary=4,
        condition="class",
        absolute=False,
    )
    torch.save({"model": Transformer(config).state_dict()}, folder / "c.pt")
    return (folder / "c.pt").read_bytes()


def _load_llamagen(path: Path) -> object:
    return load_llamagen(path, grid_side=2, heads=1)


def _index(folder: Path) -> dict[str, object]:
    """An index of the same transformer's file, which lies elsewhere."""
    _checkpoint(folder)
    names = load_llamagen(folder / "c.pt", grid_side=2, heads=1).state_dict()
    return {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(names, "c.safetensors")}


def _tasks(layout: str) -> Callable[[Path], object]:
    return partial(read_tasks, layout)


@st.composite
def _safetensors(draw: st.DrawFn, content: bytes) -> bytes:
    """Files whose header is wrong in its values, with a right length before it; or wrong in any byte."""
    if draw(st.booleans()):
        return draw(mutated_bytes(content))
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    metadata = header["__metadata__"]
    name = next(iter(metadata))
    if draw(st.booleans()):
        metadata[name] = json.dumps(draw(mutated_json(json.loads(metadata[name]))))
    else:
        header = draw(mutated_json(header))
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def make_inputs(folder: Path, bundle: Path) -> list[Input]:
    """Return all kinds.

    Args:
        folder: Where right examples are written.
        bundle: The minimal preset's.
    """
    models = minimal.load()
    latent, tokenizer = models.latent_up_samplers[2], models.tokenizer
    assert isinstance(tokenizer, Tokenizer)
    weights: dict[str, tuple[nn.Module, AnyConfig, Callable[[Path], object]]] = {
        "transformer": (models.target, models.target.config, load_transformer),
        "tokenizer": (tokenizer, tokenizer.config, load_tokenizer),
        "latent up-sampler": (latent, latent.config, load_latent_up_sampler),
    }
    inputs = []
    for name, (module, config, load) in weights.items():
        save_weights(module, config, folder / "w.safetensors")
        content = (folder / "w.safetensors").read_bytes()
        inputs.append(Input(f"weights of a {name}", _safetensors(content), load, WeightsError))
    manifest = json.loads((bundle / MANIFEST_NAME).read_text())
    plan = {"objects": [{"shape": "circle", "colour": "red", "x": 3, "y": 4, "size": 1}]}
    row = {"identity": "a", "variant": "AR", "task": "one", "task_number": 0, "index": 0, "seed": 0, "holds": True}
    row |= {"acceptance_rate": 1.0, "resampled_rate": 0.0, "nfe_target": 4, "nfe_drafter": 0, "cycles": 0}
    row |= {"seconds": 0.1, "batched": False, "height": 1, "width": 2, "tokens": "eJxjYGBgAAAABAAB"}
    vectors = {"format_version": 1, "stages": {"a": {"outputs": {"x": {"shape": "", "meaning": ""}}}}}
    vectors |= {"cases": [{"stage": "a", "case": "a/0", "inputs": "i", "answers": "a", "answers_sha256": "0"}]}
    condition = _arrays(condition=np.ones((2, 3), dtype=np.float32), shown=np.ones(2, dtype=np.bool_))(folder)
    captions = {"annotations": [{"image_id": 3, "id": 4, "caption": "a star"}]}
    arrays = _arrays(tokens=np.arange(6), kept=np.ones((2, 3), dtype=np.bool_))(folder)
    return [
        *inputs,
        Input("a bundle's manifest", json_files(manifest), _in_folder(MANIFEST_NAME, open_bundle), BundleError),
        Input("a plan", json_files(plan), load_plan, PlanError),
        Input("a prompt", mutated_bytes(b"three green stars above a red circle"), _prompt, PromptError),
        Input("prompts in a file", mutated_bytes(b"a star\n# no\na star and a cross\n"), read_prompts, PromptFileError),
        Input("known failures", mutated_bytes(b"# ours\nKV-4: no refresh\n"), read_known_failures, KnownFailuresError),
        Input(
            "rows of a study",
            json_files(row).map(lambda line: line + b"\n"),
            _in_folder(ROWS_NAME, read_rows),
            StudyError,
        ),
        Input("a manifest of vectors", json_files(vectors), _in_folder(VECTORS_MANIFEST, read_cases), VectorsError),
        Input("arrays of answers", mutated_bytes(arrays), read_arrays, VectorsError),
        Input("a condition", mutated_bytes(condition), load_condition, ConditionError),
        Input("a published checkpoint", mutated_bytes(_checkpoint(folder)), _load_llamagen, WeightsError),
        Input("an index of weights", json_files(_index(folder)), _load_llamagen, WeightsError),
        Input("GenEval's prompts", mutated_bytes(b'{"prompt": "a star"}\n' * 2), _tasks("geneval"), LayoutError),
        Input("COCO's captions", json_files(captions), _tasks("coco"), LayoutError),
    ]
