"""Tiny models of the published families: the fixtures' transformers, and the same on a coarser grid as drafters."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.export.full_size import random_tensors
from mulo_sd.export.published import Files, load_published, load_ta_tok_of
from mulo_sd.reference.checkpoints.lantern import published_shapes
from mulo_sd.reference.checkpoints.ta_tok import TATokConfig, TATokDecoder
from mulo_sd.reference.checkpoints.vq import VQConfig, VQTokenizer
from mulo_sd.reference.head import HeadConfig
from mulo_sd.reference.models import Models
from mulo_sd.reference.random_weights import fill
from tests.fakes.torch_backend import TorchBackend, bundle_in_memory
from tests.reference.checkpoints import published
from tests.reference.checkpoints.conftest import weights_by_recipe

MakeWeights = Callable[[Mapping[str, list[int]], int], dict[str, Tensor]]
# tar3 is the cascade of three grids.
FAMILIES = {"t2i": "llamagen", "c2i": "llamagen", "tar": "tar", "tar3": "tar"}
HEADS = 4
PREFIX, FEATURES, SEMANTIC_IDS = 9, 24, 50


class Tiny(NamedTuple):
    """A family's models, and a pipeline over them in torch."""

    files: Files
    models: Models
    pipeline: Pipeline


def _write_vq(path: Path) -> None:
    tokenizer = VQTokenizer(VQConfig(channels=32, z_channels=32, codes=256, code_dim=8))
    fill(tokenizer, torch.Generator().manual_seed(8), 1.0)
    published.save(tokenizer.state_dict(), path)


def _write_ta_tok(path: Path) -> None:
    config = TATokConfig(SEMANTIC_IDS, 6, FEATURES, 32, 2, 12, 4)
    decoder = TATokDecoder(config, PREFIX)
    fill(decoder, torch.Generator().manual_seed(9), 1.0)
    torch.save({"model": {"args": {}, "sd": decoder.state_dict()}}, path)


def write_files(name: str, folder: Path) -> Files:
    """Write a family's checkpoints as they are published."""
    _write_vq(folder / "vq_ds16.pt")
    generator = torch.Generator().manual_seed(10)
    if name in ("tar", "tar3"):
        _write_ta_tok(folder / "ta_tok.pth")
        tensors, arguments = (
            published.weights("tar_ardtok_tiny", weights_by_recipe),
            published.arguments("tar_ardtok_tiny"),
        )
        written: list[Path] = []
        for side in (8, 4, 2)[: 3 if name == "tar3" else 2]:
            state = tensors | {"abs_pe": tensors["abs_pe"][:, : PREFIX + side**2 - 1].clone()}
            written.append(folder / f"ar_dtok_s_{16 * side}px.pth")
            torch.save({"model": {"name": "llama-abs-S", "args": arguments, "sd": state}}, written[-1])
        vq, ta_tok = folder / "vq_ds16.pt", folder / "ta_tok.pth"
        return Files("tar", written[0], tuple(written[1:]), vq, ta_tok=ta_tok)
    tensors = published.weights(f"llamagen_{name}_tiny", weights_by_recipe)
    # The null condition is learned: another in each checkpoint.
    other = {key: value + 0.02 * torch.randn(value.shape, generator=generator) for key, value in tensors.items()}
    paths = (folder / f"{name}_128.pt", folder / f"{name}_64.pt")
    for path, state in zip(paths, (tensors, other), strict=True):
        published.save(state, path)
    vocabulary, dim = tensors["tok_embeddings.weight"].shape
    head = random_tensors(published_shapes(HeadConfig(8, 8, vocabulary, heads=HEADS, dim=dim)), seed=12)
    torch.save(head, folder / "pytorch_model.bin")
    files = (paths[0], paths[1:], folder / "vq_ds16.pt")
    return Files("llamagen", *files, heads=HEADS, head=folder / "pytorch_model.bin")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str | None], Tiny]:
    """Return a family's models by name, and a text model's folder for its prompts."""
    made: dict[str, tuple[Files, Models, Bundle, TorchBackend]] = {}

    def make(name: str, text_model: str | None = None) -> Tiny:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            files = write_files(name, folder)
            models = load_published(files)
            ta_tok = load_ta_tok_of(files, models)
            bundle = bundle_in_memory(models, folder, 1, 32, FAMILIES[name], ta_tok)
            made[name] = files, models, bundle, TorchBackend(models, 1, ta_tok)
        files, models, bundle, backend = made[name]
        return Tiny(files, models, Pipeline(bundle, backend, text_model))

    return make
