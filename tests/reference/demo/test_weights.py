"""Weights on disk: they come back as they were saved, and anything else is refused in one line."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from mulo_sd.reference.demo.shipped import SHIPPED
from mulo_sd.reference.tokenizer import Tokenizer
from mulo_sd.reference.transformer import Transformer
from mulo_sd.reference.weights import WeightsError, load_tokenizer, load_transformer, save_weights


@pytest.fixture
def tokenizer_file(tiny_tokenizer: Tokenizer, tmp_path: Path) -> Path:
    path = tmp_path / "tokenizer.safetensors"
    save_weights(tiny_tokenizer, tiny_tokenizer.config, path)
    return path


def refusal(path: Path) -> str:
    """Return the message with which a tokenizer file is refused, after checking that it is one line."""
    with pytest.raises(WeightsError) as caught:
        load_tokenizer(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert len(message.splitlines()) == 1
    return message


def content(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of a file."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no iterator)
        return tensors, dict(file.metadata())


def test_tokenizer_comes_back_as_saved(tiny_tokenizer: Tokenizer, tokenizer_file: Path) -> None:
    loaded = load_tokenizer(tokenizer_file)
    assert loaded.config == tiny_tokenizer.config
    for name, value in tiny_tokenizer.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.half().float())
    assert not loaded.training
    assert not any(weight.requires_grad for weight in loaded.parameters())


def test_transformer_comes_back_as_saved(tiny_transformer: Transformer, tmp_path: Path) -> None:
    path = tmp_path / "drafter.safetensors"
    save_weights(tiny_transformer, tiny_transformer.config, path)
    loaded = load_transformer(path)
    assert loaded.config == tiny_transformer.config
    for name, value in tiny_transformer.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.half().float())


def test_saving_twice_writes_the_same_bytes_and_leaves_nothing_beside(
    tiny_tokenizer: Tokenizer, tokenizer_file: Path
) -> None:
    first = tokenizer_file.read_bytes()
    save_weights(tiny_tokenizer, tiny_tokenizer.config, tokenizer_file)
    assert tokenizer_file.read_bytes() == first
    assert list(tokenizer_file.parent.iterdir()) == [tokenizer_file]


def test_weights_of_another_kind_are_refused(
    tiny_transformer: Transformer, tokenizer_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "transformer.safetensors"
    save_weights(tiny_transformer, tiny_transformer.config, path)
    assert "expected weights of a TokenizerConfig, got TransformerConfig" in refusal(path)
    with pytest.raises(WeightsError, match="expected weights of a TransformerConfig, got TokenizerConfig"):
        load_transformer(tokenizer_file)


def test_weights_without_metadata_are_refused(tokenizer_file: Path) -> None:
    save_file(content(tokenizer_file)[0], tokenizer_file)
    assert "got none named" in refusal(tokenizer_file)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_truncated_file_is_refused(share: float, tokenizer_file: Path) -> None:
    whole = tokenizer_file.read_bytes()
    tokenizer_file.write_bytes(whole[: int(share * len(whole))])
    assert "expected a safetensors file" in refusal(tokenizer_file)


@pytest.mark.parametrize(
    "data",
    [
        b"<!DOCTYPE html>\n<html><body>404: not found</body></html>\n" * 20,
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        b"PK\x03\x04" + bytes(200),
        bytes(200),
        b"\xff" * 200,
    ],
    ids=["html", "pointer", "zip", "zeros", "ones"],
)
def test_another_file_under_that_name_is_refused(data: bytes, tokenizer_file: Path) -> None:
    tokenizer_file.write_bytes(data)
    assert "expected a safetensors file" in refusal(tokenizer_file)


def test_missing_file_or_folder_is_refused(tmp_path: Path) -> None:
    assert "found none" in refusal(tmp_path / "missing.safetensors")
    assert "found none" in refusal(tmp_path)


def test_missing_unknown_and_misshapen_tensors_are_named(tokenizer_file: Path) -> None:
    tensors, metadata = content(tokenizer_file)
    name = "encoder.1.weight"
    for changed in (
        {key: value for key, value in tensors.items() if key != name},
        tensors | {name: tensors[name][:1].clone()},
    ):
        save_file(changed, tokenizer_file, metadata)
        assert refusal(tokenizer_file).endswith(f"unknown, missing or misshapen tensors: {name}")
    save_file(tensors | {"extra": torch.zeros(1)}, tokenizer_file, metadata)
    assert refusal(tokenizer_file).endswith("tensors: extra")


@pytest.mark.parametrize("config", ["", "no JSON", "[]", "null", '{"no_such_field": 1}'])
def test_malformed_configuration_is_refused(config: str, tokenizer_file: Path) -> None:
    tensors, _ = content(tokenizer_file)
    save_file(tensors, tokenizer_file, {"TokenizerConfig": config})
    assert "its configuration does not fit TokenizerConfig" in refusal(tokenizer_file)


def test_configuration_of_another_size_is_refused(tiny_tokenizer: Tokenizer, tokenizer_file: Path) -> None:
    tensors, _ = content(tokenizer_file)
    other = dataclasses.replace(tiny_tokenizer.config, codes=32)
    save_file(tensors, tokenizer_file, {"TokenizerConfig": json.dumps(dataclasses.asdict(other))})
    assert refusal(tokenizer_file).endswith("tensors: codebook")


def test_shipped_tokenizer_loads() -> None:
    tokenizer = load_tokenizer(SHIPPED / "tokenizer.safetensors")
    assert tokenizer.codebook.shape == (tokenizer.config.codes, tokenizer.config.code_dim)
