"""A folder of trained models: what was written is read, and whatever is wrong with it is told in one line."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mulo_sd.engines.prompts.caption_ids import CaptionIds
from mulo_sd.reference.block import block_config
from mulo_sd.reference.checkpoints.vq import VQConfig, VQTokenizer
from mulo_sd.reference.head import Head, HeadConfig, with_shared
from mulo_sd.reference.models import Models
from mulo_sd.reference.random_weights import fill
from mulo_sd.reference.tokenizer import Tokenizer, TokenizerConfig
from mulo_sd.reference.trained import describe_trained, load_trained, save_trained
from mulo_sd.reference.trained.caption_tokenizer import train_caption_tokenizer
from mulo_sd.reference.trained.description import facts_of
from mulo_sd.reference.transformer import Transformer
from mulo_sd.reference.weights import WeightsError, save_weights, weights_sha256
from tests.trained_models import CAPTIONS, CODES, IDS, PREFIX_LENGTH, SETTINGS, trained, transformer, up_sampler

FILES = ("captions.json", "drafter_1.safetensors", "picture.safetensors", "target.safetensors", "tokenizer.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole folder, to break."""
    save_trained(trained(), tmp_path / "trained")
    return tmp_path / "trained"


def refusal(folder: Path) -> str:
    """Return the one line with which a folder is refused."""
    with pytest.raises(WeightsError) as caught:
        load_trained(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def enter(folder: Path, *names: str, **changes: object) -> None:
    """Enter files in models.json as they are now, and change fields, as a wrong training would leave them."""
    path = folder / "models.json"
    content = json.loads(path.read_text()) | changes
    content["files"] |= {name: facts_of(folder / name).model_dump() for name in names}
    path.write_text(json.dumps(content))


def replace(folder: Path, name: str, model: Transformer) -> None:
    """Put another model in a file's place."""
    save_weights(model, model.config, folder / name)
    enter(folder, name)


def rounded(module: torch.nn.Module) -> str:
    """Return the hash of a module's weights once they are kept in float16."""
    values = {name: value.half().float() for name, value in module.state_dict().items()}
    copy = torch.nn.Module()
    for number, (name, value) in enumerate(sorted(values.items())):
        copy.register_buffer(f"{number:04}_{name.replace('.', '_')}", value)
    return weights_sha256(copy)


def test_what_is_written_is_read(folder: Path) -> None:
    first, read = trained(), load_trained(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted((*FILES, "models.json"))
    assert [path.name for path in folder.parent.iterdir()] == ["trained"]
    assert (read.name, read.examples, read.settings, read.presets) == ("tiny", CAPTIONS[:2], SETTINGS, {})
    for own, other in (
        (first.models.target, read.models.target),
        (first.models.drafters[0], read.models.drafters[0]),
        (first.models.tokenizer, read.models.tokenizer),
    ):
        assert rounded(own) == rounded(other)
        assert own.config == other.config
    assert all(torch.equal(own, other) for own, other in zip(first.tokens, read.tokens, strict=True))
    for caption in (*CAPTIONS, "ünknown words", "<null>"):
        condition, expected = read.condition(caption), first.condition(caption)
        assert torch.equal(condition.cond, expected.cond)
        assert condition.uncond is not None
        assert condition.uncond.tolist() == [[1]] * PREFIX_LENGTH
        assert int(condition.cond.min()) >= 2  # no text spells a special id, padding aside


def test_everything_that_a_folder_may_hold(tmp_path: Path) -> None:
    """A second drafter, latent samplers, a head and a block drafter, presets; and LlamaGen's tokenizer."""
    base = trained().models
    vq = VQTokenizer(VQConfig(channels=32, z_channels=32, codes=CODES, code_dim=4))
    head, block = Head(HeadConfig.of(base.target.config)), Transformer(block_config(base.target.config))
    for number, module in enumerate((vq, head, block)):
        fill(module, torch.Generator().manual_seed(number), 1.0)
    head.load_state_dict(with_shared({}, base.target), strict=False)
    models = Models(
        base.target,
        (base.drafters[0], transformer((1, 1), seed=5)),
        vq,
        {2: up_sampler(vq.codebook)},
        {},
        head,
        block,
    )
    tokens = (*trained().tokens, torch.zeros(1, 1, dtype=torch.long))
    presets = {"cascade": dataclasses.replace(SETTINGS, drafters=(1, 2))}
    save_trained(dataclasses.replace(trained(), models=models, tokens=tokens, presets=presets), tmp_path / "all")
    read = load_trained(tmp_path / "all")
    assert isinstance(read.models.tokenizer, VQTokenizer)
    assert weights_sha256(read.models.tokenizer) == weights_sha256(vq)  # published weights stay as they are
    assert read.models.tokenizer.config.factor == 16
    assert len(read.models.drafters) == 2
    assert [*read.models.latent_up_samplers] == [2]
    assert read.models.head is not None
    assert read.models.block is not None
    assert read.presets == presets


def test_a_training_describes_the_weights_that_it_wrote(folder: Path, tmp_path: Path) -> None:
    """Other files of the training stay, and captions become a line."""
    again = tmp_path / "run"
    again.mkdir()
    for name in ("tokenizer.safetensors", "target.safetensors", "drafter_1.safetensors"):
        shutil.copy(folder / name, again / name)
    (again / "target.json").write_text("a card")
    own = trained()
    examples = ["two\nkeys\x9f  on a table ", "snow"]
    made = describe_trained(again, "keys", own.captions, examples, own.tokens, own.settings, {"some": SETTINGS})
    assert made.examples == ("two keys on a table", "snow")
    assert load_trained(again).presets == {"some": SETTINGS}
    assert (again / "target.json").read_text() == "a card"
    assert sorted(path.name for path in again.iterdir()) == sorted((*FILES, "models.json", "target.json"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "two words"}, "name: "),
        ({"name": ""}, "name: "),
        ({"examples": []}, "examples: "),
        ({"examples": ["a" * 5000]}, "expected at most 4000 characters, got 5000"),
        ({"examples": [" "]}, "it is empty"),
        ({"tokens": trained().tokens[::-1]}, "target: expected 4 x 4 whole numbers in 0..23"),
        ({"tokens": trained().tokens[:1]}, "expected tokens for target, drafter_1, got target"),
        ({"settings": dataclasses.replace(SETTINGS, drafters=(1, 2))}, "settings: expected drafters in 1..1, got 2"),
    ],
)
def test_nothing_wrong_is_described(changes: dict[str, Any], told: str, folder: Path) -> None:
    """Then there is no models.json that says it is whole."""
    (folder / "models.json").unlink()
    own = trained()
    facts: dict[str, Any] = {field.name: getattr(own, field.name) for field in dataclasses.fields(own)} | changes
    del facts["models"]
    with pytest.raises(WeightsError, match=r"^[^\n]*$") as caught:
        describe_trained(folder, **facts)
    assert told in str(caught.value)
    assert not (folder / "models.json").exists()


def test_a_folder_that_is_there_is_let_be(folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"trained: expected no folder of this name, found one"):
        save_trained(trained(), folder)
    assert load_trained(folder).name == "tiny"


def test_models_that_do_not_fit_are_not_saved(tmp_path: Path) -> None:
    models = dataclasses.replace(trained().models, drafters=(transformer((2, 2), prefix_length=5),))
    with pytest.raises(WeightsError, match="expected 6 prefix tokens, got 5"):
        save_trained(dataclasses.replace(trained(), models=models), tmp_path / "trained")
    assert list(tmp_path.iterdir()) == []


# Files


@pytest.mark.parametrize("name", FILES)
def test_missing_file(name: str, folder: Path) -> None:
    (folder / name).unlink()
    assert refusal(folder).startswith(f"{folder / name}: the file is missing")


@pytest.mark.parametrize("name", FILES)
def test_changed_file(name: str, folder: Path) -> None:
    content = bytearray((folder / name).read_bytes())
    content[-2] ^= 1
    (folder / name).write_bytes(content)
    assert f"{folder / name}: expected sha256 " in refusal(folder)
    (folder / name).write_bytes(content[:-1])
    assert f"{folder / name}: expected {len(content)} bytes, got {len(content) - 1}" in refusal(folder)


@pytest.mark.parametrize("name", ["target.safetensors", "tokenizer.safetensors", "picture.safetensors"])
def test_a_file_of_something_else(name: str, folder: Path) -> None:
    (folder / name).write_bytes(b"nothing of the kind")
    enter(folder, name)
    assert f"{folder / name}: expected a safetensors file, got: " in refusal(folder)


def test_not_a_number(folder: Path) -> None:
    broken = transformer()
    broken.output.weight[0, 0] = float("nan")
    replace(folder, "target.safetensors", broken)
    assert "target.safetensors: expected finite numbers, got NaN or infinity in output.weight" in refusal(folder)


def test_a_file_too_large_is_not_read(folder: Path) -> None:
    with (folder / "captions.json").open("r+b") as file:
        file.truncate(2**24 + 1)
    enter(folder, "captions.json")
    assert f"captions.json: expected at most {2**24} bytes, got {2**24 + 1}" in refusal(folder)
    with (folder / "models.json").open("r+b") as file:
        file.truncate(2**23)
    assert f"models.json: expected at most {2**22} bytes" in refusal(folder)


# models.json


def test_no_folder(tmp_path: Path) -> None:
    assert "expected a folder of trained models, found none" in refusal(tmp_path / "nothing")
    assert "models.json: expected a file of what a training leaves, found none" in refusal(tmp_path)


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"version": 1}', "[" * 100_000, '{"a": 1, "a": 2}', "null", "\ud800"]
)
def test_another_file(content: str, folder: Path) -> None:
    (folder / "models.json").write_text(content, errors="surrogatepass")
    assert str(folder / "models.json") in refusal(folder)


@pytest.mark.parametrize("version", [0, 2, True, 1.0, "1", None])
def test_another_version(version: object, folder: Path) -> None:
    enter(folder, version=version)
    assert "expected mulo-sd trained models, version 1, got " in refusal(folder)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"prefix_length": 0}, "models.json: prefix_length: "),
        ({"prefix_length": 7}, "target.safetensors: expected 7 prefix tokens, got 6"),
        ({"prefix_length": True}, "models.json: prefix_length: "),
        ({"settings": {"mode": "nonsense"}}, "models.json: settings: mode: expected one of "),
        ({"settings": {"tau": float("nan")}}, "models.json: expected JSON, got another text: it holds NaN"),
        ({"settings": {"future": 1}}, "models.json: settings: expected settings of this version, got 'future'"),
        ({"settings": {"drafters": [1, 2]}}, "settings: expected drafters in 1..1, got 2"),
        ({"presets": {"more": {"drafters": [2]}}}, "presets.more: expected drafters in 1..1, got 2"),
        ({"presets": {"No Name": {}}}, "models.json: presets.No Name"),
        ({"examples": ["two\nlines"]}, "models.json: examples: expected captions of one line"),
        ({"surprise": 1}, "models.json: surprise: "),
        ({"files": {}}, "got none of tokenizer.safetensors"),
    ],
)
def test_wrong_fields(changes: dict[str, object], told: str, folder: Path) -> None:
    content = json.loads((folder / "models.json").read_text()) | changes
    (folder / "models.json").write_text(json.dumps(content))
    assert told in refusal(folder)


@pytest.mark.parametrize("name", ["../target.safetensors", "/etc/passwd", "drafter_9.safetensors", "model.pt"])
def test_a_file_of_no_name_of_ours(name: str, folder: Path) -> None:
    content = json.loads((folder / "models.json").read_text())
    content["files"][name] = content["files"]["target.safetensors"]
    (folder / "models.json").write_text(json.dumps(content))
    assert "models.json: files: expected tokenizer.safetensors, " in refusal(folder)


# What does not belong together


@pytest.mark.parametrize(
    ("name", "other", "told"),
    [
        ("drafter_1", lambda: transformer((4, 4)), "of which 4 x 4 is a whole multiple, got 4 x 4"),
        ("drafter_1", lambda: transformer((3, 2)), "of which 4 x 4 is a whole multiple, got 3 x 2"),
        ("drafter_1", lambda: transformer((8, 8)), "of which 4 x 4 is a whole multiple, got 8 x 8"),
        ("drafter_1", lambda: transformer((2, 1)), "of which 4 x 4 is a whole multiple, got 2 x 1"),
        ("target", lambda: transformer(codes=25), "expected 24 codes, as the tokenizer has, got 25"),
        ("drafter_1", lambda: transformer((2, 2), prefix_length=8), "expected 6 prefix tokens, got 8"),
        ("target", lambda: transformer(ids=IDS - 1), f"at most the {IDS - 1} ids that the models know, got {IDS}"),
    ],
)
def test_models_of_another_training(name: str, other: Callable[[], Transformer], told: str, folder: Path) -> None:
    replace(folder, f"{name}.safetensors", other())
    assert told in refusal(folder)


def test_a_tokenizer_of_another_training(folder: Path) -> None:
    other = Tokenizer(TokenizerConfig(CODES + 1, 4, width=8, encoder_blocks=1, decoder_blocks=1, factor=2))
    save_weights(other, other.config, folder / "tokenizer.safetensors")
    enter(folder, "tokenizer.safetensors")
    assert "target.safetensors: expected 25 codes, as the tokenizer has, got 24" in refusal(folder)


def test_samplers_of_another_training(folder: Path) -> None:
    codebook = trained().models.tokenizer.codebook
    sampler, name = up_sampler(codebook), "up_sampler_2.safetensors"
    save_weights(sampler, sampler.config, folder / name)
    enter(folder, name)
    assert [*load_trained(folder).models.latent_up_samplers] == [2]
    other = up_sampler(codebook.flip(0))
    save_weights(other, other.config, folder / name)
    enter(folder, name)
    assert f"{name}: expected a sampler of this tokenizer's codes, got another's" in refusal(folder)
    shutil.copy(folder / name, folder / "up_sampler_4.safetensors")
    save_weights(sampler, sampler.config, folder / name)
    enter(folder, name, "up_sampler_4.safetensors")
    assert "up_sampler_4.safetensors: expected a sampler of ratio 4, got 2" in refusal(folder)


def test_drafters_with_a_gap(folder: Path) -> None:
    shutil.copy(folder / "drafter_1.safetensors", folder / "drafter_3.safetensors")
    enter(folder, "drafter_3.safetensors")
    assert "expected drafters that are numbered from 1 on, got drafter_1.safetensors, drafter_3" in refusal(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda tokens: tokens | {"target": tokens["target"] + CODES},
        lambda tokens: tokens | {"target": tokens["target"] - CODES},
        lambda tokens: tokens | {"drafter_1": tokens["drafter_1"].float()},
        lambda tokens: tokens | {"drafter_1": tokens["drafter_1"].flatten()},
        lambda tokens: tokens | {"other": tokens["target"].clone()},
        lambda tokens: {"target": tokens["target"]},
    ],
)
def test_another_pictures_tokens(change: Callable[[dict[str, Any]], dict[str, Any]], folder: Path) -> None:
    path = folder / "picture.safetensors"
    save_file(change(load_file(path)), path)
    enter(folder, path.name)
    assert "picture.safetensors: " in refusal(folder)


def test_captions_of_another_kind(folder: Path) -> None:
    (folder / "captions.json").write_text("{}")
    enter(folder, "captions.json")
    assert "captions.json: expected byte-level BPE as JSON of the library tokenizers, got another" in refusal(folder)


def test_captions_are_cut_and_filled_up() -> None:
    ids = CaptionIds(train_caption_tokenizer(CAPTIONS, IDS), 3)
    long, short = ids.condition("a red fox in the snow and more"), ids.condition("snow")
    assert long.shape == short.shape == (3, 1)
    assert long[:, 0].tolist() == ids.ids("a red fox in the snow and more")[:3]
    assert short[:, 0].tolist() == [*ids.ids("snow"), 2, 2][:3]
    assert np.array_equal(ids.condition("SNOW"), short)
