"""The VQ tokenizer answers what the published code answers, and refuses files that are not its own."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from mulo_sd.reference.checkpoints.files import read_checkpoint, tensors_of
from mulo_sd.reference.checkpoints.vq import VQ_8, VQ_16, VQTokenizer, load_vq
from mulo_sd.reference.weights import WeightsError

MakeWeights = Callable[[Mapping[str, list[int]], int], dict[str, Tensor]]
FIXTURE = Path(__file__).parent / "vq16_full.safetensors"


@pytest.fixture(scope="module")
def answers() -> dict[str, Tensor]:
    """What the published code answered."""
    with safe_open(FIXTURE, framework="pt") as file:
        names: list[str] = list(file.keys())
        return {name: file.get_tensor(name) for name in names}


@pytest.fixture(scope="module")
def weights(make_weights: MakeWeights) -> dict[str, Tensor]:
    """The weights that it answered for, 71.9 million numbers."""
    with safe_open(FIXTURE, framework="pt") as file:
        told = file.metadata()
    return make_weights(json.loads(told["keys"]), int(told["seed"]))


@pytest.fixture(scope="module")
def checkpoint(weights: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as it is published."""
    path = tmp_path_factory.mktemp("vq") / "vq_ds16_t2i.pt"
    torch.save({"model": weights}, path)
    return path


@torch.inference_mode()
def test_parity(checkpoint: Path, answers: dict[str, Tensor]) -> None:
    tokenizer = load_vq(checkpoint)
    assert sum(value.numel() for value in tokenizer.parameters()) == 71_883_403
    assert tokenizer.config.factor == 16
    torch.testing.assert_close(tokenizer.raw_features(answers["image"]), answers["pre_quant"], rtol=0, atol=2e-5)
    assert torch.equal(tokenizer.tokens_from_images(answers["image"]), answers["ids"])
    codes = F.normalize(F.embedding(answers["decode_ids"], tokenizer.codebook), dim=-1)
    torch.testing.assert_close(tokenizer.images_from_codes(codes), answers["decoded"], rtol=0, atol=1e-4)
    clamped = tokenizer.images_from_tokens(answers["decode_ids"])
    torch.testing.assert_close(clamped, answers["decoded"].clamp(-1, 1), rtol=0, atol=1e-4)


@torch.inference_mode()
def test_vq_8_halves_three_times() -> None:
    tokenizer = VQTokenizer(VQ_8)
    image = torch.zeros(1, 3, 16, 24)
    tokens = tokenizer.tokens_from_images(image)
    assert VQ_8.factor == 8
    assert tokens.shape == (1, 2, 3)
    assert tokenizer.images_from_tokens(tokens).shape == image.shape


@pytest.mark.parametrize("wrapper", ["model", "ema", "state_dict", None])
def test_wrappers(wrapper: str | None, tmp_path: Path) -> None:
    tensors = {"a.weight": torch.zeros(2)}
    torch.save(tensors if wrapper is None else {wrapper: tensors, "steps": 3}, tmp_path / "w.pt")
    assert set(tensors_of(read_checkpoint(tmp_path / "w.pt"), tmp_path)) == {"a.weight"}
    save_file(tensors, tmp_path / "w.safetensors")
    assert set(tensors_of(read_checkpoint(tmp_path / "w.safetensors"), tmp_path)) == {"a.weight"}


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as error:
        load_vq(path)
    assert len(str(error.value).splitlines()) == 1
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value)


def test_tensors_that_do_not_fit_are_listed_by_kind(weights: dict[str, Tensor], tmp_path: Path) -> None:
    wrong = dict(weights)
    del wrong["encoder.conv_in.bias"]
    wrong["quant_conv.bias"] = torch.zeros(9)
    wrong["layers.0.attention.wqkv.weight"] = torch.zeros(2, 2)
    torch.save({"model": wrong}, tmp_path / "w.pt")
    told = refusal(tmp_path / "w.pt")
    assert "missing: encoder.conv_in.bias" in told
    assert "unknown: layers.0.attention.wqkv.weight" in told
    assert "misshapen: quant_conv.bias ([9], not [8])" in told


def test_numbers_that_are_none_are_told(weights: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"model": weights | {"quant_conv.bias": torch.full((8,), torch.nan)}}, tmp_path / "w.pt")
    assert "NaN or infinity in quant_conv.bias" in refusal(tmp_path / "w.pt")


class Dangerous:
    """What a pickle may hold: something that is called when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("it ran",))


def test_files_that_are_no_weights(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def at(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    whole = checkpoint.read_bytes()
    assert "found none" in refusal(tmp_path / "nothing.pt")
    assert "expected 1 to" in refusal(at("empty.pt", b""))
    assert "got a web page" in refusal(at("page.pt", b"\n<!DOCTYPE html><html>404</html>"))
    assert "Git LFS pointer" in refusal(at("pointer.pt", b"version https://git-lfs.github.com/spec/v1\noid sha256:0"))
    assert "expected a whole checkpoint" in refusal(at("half.pt", whole[: len(whole) // 2]))
    assert "expected a whole checkpoint" in refusal(at("noise.safetensors", b"\xff" * 64))
    torch.save({"model": {"a": Dangerous()}}, tmp_path / "code.pt")
    assert "a pickle that would run code" in refusal(tmp_path / "code.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    assert "expected tensors by name, got list" in refusal(tmp_path / "list.pt")
    torch.save({"model": {"a": 3}}, tmp_path / "number.pt")
    assert "got also a" in refusal(tmp_path / "number.pt")
    assert "it ran" not in capsys.readouterr().out
    assert VQ_16.factor == 16
