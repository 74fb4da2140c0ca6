"""However a checkpoint was saved, and whatever its file is called: the weights that are loaded are the same."""

import argparse
import collections
import datetime
import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from mulo_sd.reference.checkpoints.ar_dtok import load_ar_dtok
from mulo_sd.reference.checkpoints.files import read_checkpoint, tensors_of
from mulo_sd.reference.checkpoints.llamagen import load_llamagen
from mulo_sd.reference.checkpoints.vq import VQConfig, VQTokenizer, load_vq
from mulo_sd.reference.random_weights import fill
from mulo_sd.reference.weights import WeightsError
from tests.reference.checkpoints import published
from tests.reference.checkpoints.published import MakeWeights

SIDE, HEADS = 8, 4
Tensors = dict[str, Tensor]
Write = Callable[[Tensors, Path], Path]


@pytest.fixture(scope="module")
def tensors(make_weights: MakeWeights) -> Tensors:
    """A tiny transformer's."""
    return published.weights("llamagen_c2i_tiny", make_weights)


def saved(name: str, wrap: Callable[[Tensors], object], **options: Any) -> Write:
    """Return what writes a file of torch.save."""

    def write(tensors: Tensors, folder: Path) -> Path:
        torch.save(wrap(tensors), folder / name, **options)
        return folder / name

    return write


def prefixed(*prefixes: str) -> Callable[[Tensors], object]:
    """Return what puts prefixes before every name."""
    return lambda tensors: {"model": {"".join(prefixes) + name: value for name, value in tensors.items()}}


def wrapped_inside(tensors: Tensors) -> object:
    """Name tensors as FSDP, torch.compile and activation checkpointing do that wrap a model's parts."""
    return {
        "model": {
            "_fsdp_wrapped_module."
            + name.replace("layers.0.", "layers.0._fsdp_wrapped_module._checkpoint_wrapped_module.").replace(
                "layers.1.", "layers.1._orig_mod."
            ): value
            for name, value in tensors.items()
        }
    }


def with_caches(tensors: Tensors) -> object:
    """Add what LlamaGen's inference leaves in a model's state."""
    cache = {f"layers.{n}.attention.kv_cache.{k}_cache": torch.zeros(2, 4, 72, 24) for n in (0, 1) for k in "kv"}
    return {
        "model": {**tensors, **cache, "causal_mask": torch.ones(2, 72, 72).bool(), "freqs_cis": torch.zeros(9, 12, 2)}
    }


def safetensors_called(name: str) -> Write:
    def write(tensors: Tensors, folder: Path) -> Path:
        save_file(tensors, folder / name)
        return folder / name

    return write


def shards(returned: str, names: tuple[str, str], index: str) -> Write:
    """Return what writes two files and their index, in a folder of their own."""

    def write(tensors: Tensors, folder: Path) -> Path:
        folder = folder / "sharded"
        folder.mkdir()
        parts = (sorted(tensors)[::2], sorted(tensors)[1::2])
        for file, part in zip(names, parts, strict=True):
            content = {name: tensors[name] for name in part}
            save_file(content, folder / file) if file.endswith("safetensors") else torch.save(content, folder / file)
        places = {name: file for file, part in zip(names, parts, strict=True) for name in part}
        (folder / index).write_text(json.dumps({"metadata": {"total_size": 7}, "weight_map": places}))
        return folder / returned

    return write


ARGUMENTS = argparse.Namespace(gpt_model="GPT-B", cls_token_num=1, lr=1e-4, betas=(0.9, 0.95), resume=None)
BESIDE: dict[str, object] = {
    "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
    "steps": np.int64(300_000),
    "loss": np.float32(2.5),
    "best": np.bool_(True),
    "history": np.arange(6.0).reshape(2, 3),
    "results": Path("runs") / "000",
    "simple": types.SimpleNamespace(a=1),
    "counts": collections.defaultdict(int, {1: 2}),
    "order": collections.OrderedDict(a=1),
    "when": datetime.datetime(2024, 6, 1, tzinfo=datetime.UTC),
    "kind": np.dtype("float32"),
    "some": frozenset({1}),
    "dtype": torch.bfloat16,
}
WRITERS: dict[str, Write] = {
    "plain": saved("c2i_64.pt", lambda tensors: {"model": tensors}),
    "bare": saved("c2i_64.pth", lambda tensors: tensors),
    "module": saved("a.pt", lambda tensors: {"module": tensors, "ds_version": "0.14"}),
    "state_dict": saved("a.ckpt", lambda tensors: {"state_dict": tensors, "epoch": 1}),
    "an average alone": saved("a.pt", lambda tensors: {"ema": tensors}),
    "the model beside its average": saved(
        "a.pt", lambda tensors: {"ema": {name: value + 1 for name, value in tensors.items()}, "model": tensors}
    ),
    "one in another": saved("a.pt", lambda tensors: {"model": {"state_dict": {"module": tensors}}}),
    "trained": saved("0300000.pt", lambda tensors: {"model": tensors, "args": ARGUMENTS, **BESIDE}),
    "before torch's zips": saved(
        "a.pt", lambda tensors: {"model": tensors, "args": ARGUMENTS, **BESIDE}, _use_new_zipfile_serialization=False
    ),
    "parameters": saved("a.pt", lambda tensors: {name: nn.Parameter(value) for name, value in tensors.items()}),
    "double": saved("a.pt", lambda tensors: {name: value.double() for name, value in tensors.items()}),
    "compiled": saved("a.pt", prefixed("_orig_mod.")),
    "distributed": saved("a.pt", prefixed("module.")),
    "both": saved("a.pt", prefixed("module.", "_orig_mod.")),
    "both the other way": saved("a.pt", prefixed("_orig_mod.", "module.")),
    "lightning": saved(
        "a.pt", lambda tensors: {"state_dict": {f"model.{name}": value for name, value in tensors.items()}}
    ),
    "fully sharded": saved("a.pt", prefixed("_fsdp_wrapped_module.", "model.", "module.")),
    "parts wrapped": saved("a.pt", wrapped_inside),
    "caches": saved("a.pt", with_caches),
    "a zip called safetensors": saved("a.safetensors", lambda tensors: {"model": tensors}),
    "safetensors": safetensors_called("model.safetensors"),
    "safetensors called pt": safetensors_called("model.pt"),
    "safetensors in capitals": safetensors_called("MODEL.SAFETENSORS"),
    "an index": shards(
        "model.safetensors.index.json",
        ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"),
        "model.safetensors.index.json",
    ),
    "a folder with an index": shards(
        "", ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"), "model.safetensors.index.json"
    ),
    "an index of torch's files": shards(
        "pytorch_model.bin.index.json",
        ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"),
        "pytorch_model.bin.index.json",
    ),
}


def same(found: nn.Module, expected: Tensors) -> bool:
    """Return whether a module has these weights, bit for bit."""
    state = found.state_dict()
    return state.keys() == expected.keys() and all(torch.equal(state[name], value) for name, value in expected.items())


@pytest.mark.parametrize("how", WRITERS)
def test_every_wrapping_gives_the_same_weights(how: str, tensors: Tensors, tmp_path: Path) -> None:
    path = WRITERS[how](tensors, tmp_path)
    model = load_llamagen(path, SIDE, HEADS)
    assert same(model, tensors)
    assert model.output.weight.dtype == torch.float32


def test_a_folder_with_one_file(tensors: Tensors, tmp_path: Path) -> None:
    """As a hub's folder is: weights, and small files beside them."""
    (tmp_path / "config.json").write_text('{"dim": 96}')
    save_file(tensors, tmp_path / "model.safetensors")
    assert same(load_llamagen(tmp_path, SIDE, HEADS), tensors)
    save_file(tensors, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"one file of weights or one index, got model\.safetensors, other\.safe"):
        load_llamagen(tmp_path, SIDE, HEADS)


def test_half_precision_is_what_it_is(tensors: Tensors, tmp_path: Path) -> None:
    halves = {name: value.bfloat16() for name, value in tensors.items()}
    path = published.save(halves, tmp_path / "half.pt")
    assert same(load_llamagen(path, SIDE, HEADS), {name: value.float() for name, value in halves.items()})


@pytest.mark.parametrize("wrapper", ["model", "module", "state_dict", "ema", None])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_the_tokenizer_takes_them_too(wrapper: str | None, prefix: str, tmp_path: Path) -> None:
    tokenizer = VQTokenizer(VQConfig(channels=32, multipliers=(1, 1), z_channels=32, codes=16, code_dim=4))
    names = [name for name in tokenizer.state_dict() if "quantize" in name]
    tensors = {prefix + name: tokenizer.state_dict()[name] for name in names}
    content = tensors if wrapper is None else {wrapper: tensors, "args": ARGUMENTS, "steps": 3}
    torch.save(content, tmp_path / "vq.pt")
    assert set(tensors_of(read_checkpoint(tmp_path / "vq.pt"), tmp_path)) == set(names)


def test_a_whole_tokenizer_of_ones_own_training(tmp_path: Path) -> None:
    """VQ-16's blocks, fewer channels; without normalised codes it would be another model than ours, and is refused."""
    tokenizer = VQTokenizer(VQConfig(channels=32, z_channels=32, codes=16, code_dim=4))
    fill(tokenizer, torch.Generator().manual_seed(1), 1.0)
    state = dict(tokenizer.state_dict())
    content: dict[str, Any] = {"model": state, "discriminator": {"a": torch.zeros(1)}, **BESIDE}
    for told, expected in ((True, True), (False, False)):
        torch.save({**content, "args": argparse.Namespace(codebook_l2_norm=told)}, tmp_path / "vq.pt")
        if expected:
            assert same(load_vq(tmp_path / "vq.pt"), state)
            continue
        with pytest.raises(WeightsError, match="expected a codebook that is normalised"):
            load_vq(tmp_path / "vq.pt")


@pytest.mark.parametrize("kind", [dict, argparse.Namespace])
def test_arguments_of_an_ar_dtok(kind: type, make_weights: MakeWeights, tmp_path: Path) -> None:
    """As a mapping or a namespace, of Python's or numpy's numbers; what is left out has the published default."""
    name = "tar_ardtok_tiny"
    tensors = published.weights(name, make_weights)
    told = {**published.arguments(name), "cls_token_num": np.int64(9)}
    torch.save({"model": {"name": "llama-abs-S", "args": kind(**told), "sd": tensors}}, tmp_path / "a.pth")
    assert load_ar_dtok(tmp_path / "a.pth").config.prefix_length == 9
    del told["cls_token_num"]  # then it is 1, and the table of positions is that of a square grid
    table = tensors["abs_pe"][:, :64].clone()
    torch.save({"model": {"args": kind(**told), "sd": {**tensors, "abs_pe": table}}}, tmp_path / "a.pth")
    model = load_ar_dtok(tmp_path / "a.pth")
    assert (model.config.prefix_length, model.config.grid_height) == (1, 8)


def test_names_that_meet_are_refused(tensors: Tensors, tmp_path: Path) -> None:
    both = {**tensors, "_orig_mod.norm.weight": tensors["norm.weight"]}
    with pytest.raises(WeightsError, match="some of them both wrapped and bare"):
        load_llamagen(published.save(both, tmp_path / "a.pt"), SIDE, HEADS)


def test_weights_must_fit_the_precision(tensors: Tensors, tmp_path: Path) -> None:
    """A number beyond float16 is told with its tensor when half precision is asked for; NaN always."""
    large = {**tensors, "layers.1.feed_forward.w2.weight": tensors["layers.1.feed_forward.w2.weight"].clone()}
    large["layers.1.feed_forward.w2.weight"][0, 3] = -1e5
    path = published.save(large, tmp_path / "large.pt")
    for dtype in (torch.float32, torch.bfloat16):
        assert same(load_llamagen(path, SIDE, HEADS, dtype), large)
    told = r"layers\.1\.feed_forward\.w2\.weight: expected numbers up to 65504 for float16, got -100000"
    with pytest.raises(WeightsError, match=told):
        load_llamagen(path, SIDE, HEADS, torch.float16)
    large["layers.1.feed_forward.w2.weight"][0, 3] = 65510.0  # rounds to the largest
    assert same(load_llamagen(published.save(large, path), SIDE, HEADS, torch.float16), large)
    large["norm.weight"] = torch.full_like(tensors["norm.weight"], torch.nan)
    with pytest.raises(WeightsError, match=r"NaN or infinity in norm\.weight"):
        load_llamagen(published.save(large, path), SIDE, HEADS)
