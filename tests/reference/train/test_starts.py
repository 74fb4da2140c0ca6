"""Published starting points through the command: LlamaGen's VQ tokenizer and transformers, and Tar's."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mulo_sd.reference.checkpoints.vq import VQ_8, VQTokenizer, load_image_tokenizer
from mulo_sd.reference.random_weights import fill
from mulo_sd.reference.trained import load_trained
from mulo_sd.reference.transformer import Transformer
from mulo_sd.reference.weights import save_weights
from tests.reference.train.commanded import SHORT, TINY, command, refusal
from tests.reference.train.folder.made import add_pictures
from tests.reference.train.test_warm_start import PUBLISHED
from tests.reference.train.tiny import make_tokenizer

# What is said of sizes by the files that are given.
SIZES = ("--pixels", "32", "--drafters", "1", "--threads", "1")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures") / "images"
    add_pictures(folder, 20)
    return folder


def published(name: str, path: Path) -> Transformer:
    """Write a transformer as it is published; of 16 codes, two layers and two heads."""
    model = Transformer(PUBLISHED[name])
    fill(model, torch.Generator().manual_seed(2), 2.0)
    tensors = dict(model.state_dict())
    if name == "ar_dtok":
        tensors["abs_pe"] = tensors["abs_pe"][None, :-1]
        torch.save({"model": {"model": tensors, "args": {"n_head": 2, "cls_token_num": 9}}}, path)
    elif path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save({"model": tensors}, path)
    return model


@pytest.mark.parametrize(
    ("name", "file"),
    [("t2i", "t2i.pt"), ("c2i", "c2i.safetensors"), ("ar_dtok", "ar_dtok.pth")],
)
def test_published_transformers_begin_a_training(name: str, file: str, images: Path, tmp_path: Path) -> None:
    """Its size is taken over; so is every layer: after a step at a rate of next to nothing they are still its own."""
    model = published(name, tmp_path / file)
    tokenizer = make_tokenizer()
    save_weights(tokenizer, tokenizer.config, tmp_path / "tokenizer.safetensors")
    out = ("--out", tmp_path / "out", "--tokenizer", tmp_path / "tokenizer.safetensors")
    start = ("--warm-start", tmp_path / file, "--heads", "2")
    done = command("drafter_1", "--images", images, *SIZES, *out, *start, "--steps", "1", "--rate", "1e-9")
    assert done.returncode == 0, done.stderr
    card = json.loads((tmp_path / "out" / "models" / "drafter_1.json").read_text())
    assert card["warm_start"] == file
    config = card["config"]
    assert (config["dim"], config["layers"], config["heads"], config["grid_height"]) == (16, 2, 2, 4)
    assert (config["rotary"], config["absolute"]) == (model.config.rotary, model.config.absolute)
    trained = load_file(tmp_path / "out" / "models" / "drafter_1.safetensors")
    for key, value in model.state_dict().items():
        if key.startswith("layers.") and value.ndim == 2:
            torch.testing.assert_close(trained[key].float(), value, rtol=1e-3, atol=1e-4)


def test_a_size_that_is_not_published_needs_its_heads(images: Path, tmp_path: Path) -> None:
    published("t2i", tmp_path / "t2i.pt")
    error = refusal("--images", images, *SIZES, "--out", tmp_path / "out", "--warm-start", tmp_path / "t2i.pt")
    assert "expected layers x width of a published size" in error
    assert not (tmp_path / "out").exists()


def test_a_whole_training_with_a_published_tokenizer_and_start(images: Path, tmp_path: Path) -> None:
    """The tokenizer is kept among the models as it is; the first drafter begins as the start, the target as that."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        vq = VQTokenizer(replace(VQ_8, channels=32, z_channels=32, codes=16, code_dim=4))
    torch.save({"model": vq.state_dict()}, tmp_path / "vq.pt")
    published("t2i", tmp_path / "t2i.pt")
    given = (
        *("--images", images, *SIZES, *SHORT, "--out", tmp_path / "out", "--no-bundle"),
        *("--tokenizer", tmp_path / "vq.pt", "--warm-start", tmp_path / "t2i.pt", "--heads", "2"),
    )
    done = command(*given)
    assert done.returncode == 0, done.stderr
    kept = load_image_tokenizer(tmp_path / "out" / "models" / "tokenizer.safetensors")
    assert isinstance(kept, VQTokenizer)
    assert all(torch.equal(value, kept.state_dict()[name]) for name, value in vq.state_dict().items())
    models = load_trained(tmp_path / "out" / "models").models
    assert [model.config.layers for model in (models.target, *models.drafters)] == [2, 2]
    cards = [json.loads((tmp_path / "out" / "models" / f"{name}.json").read_text()) for name in ("drafter_1", "target")]
    assert [card["warm_start"] for card in cards] == ["t2i.pt", "drafter_1.safetensors"]
    again = command(*given)
    assert again.returncode == 0, again.stderr
    assert "wrote" not in again.stdout


def test_our_own_models_begin_another_training(images: Path, tmp_path: Path) -> None:
    """Tokenizer and drafter of one training serve the next one, of other pictures."""
    first = ("--images", images, "--out", tmp_path / "first", *TINY, *SHORT, "--no-bundle")
    assert command(*first).returncode == 0
    add_pictures(tmp_path / "others", 20, first=100)
    models = tmp_path / "first" / "models"
    starts = ("--tokenizer", models / "tokenizer.safetensors", "--warm-start", models / "drafter_1.safetensors")
    second = ("--images", tmp_path / "others", "--out", tmp_path / "second", *SIZES, *SHORT, *starts, "--no-bundle")
    done = command(*second)
    assert done.returncode == 0, done.stderr
    kept = tmp_path / "second" / "models" / "tokenizer.safetensors"
    assert kept.read_bytes() == (models / "tokenizer.safetensors").read_bytes()
    assert load_trained(tmp_path / "second" / "models").models.target.config.dim == 16


@pytest.mark.parametrize("change", [lambda size: size // 2, lambda size: 0])
def test_files_that_are_cut_off_are_told(change: Callable[[int], int], images: Path, tmp_path: Path) -> None:
    published("t2i", tmp_path / "t2i.pt")
    whole = (tmp_path / "t2i.pt").read_bytes()
    (tmp_path / "t2i.pt").write_bytes(whole[: change(len(whole))])
    for option in ("--warm-start", "--tokenizer"):
        error = refusal("--images", images, *SIZES, "--out", tmp_path / "out", option, tmp_path / "t2i.pt")
        assert f"{tmp_path / 't2i.pt'}: expected " in error
    assert not (tmp_path / "out").exists()
