"""A bundle's weights make the same models on the backend in torch; what cannot be used is said in one line."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mulo_sd import engines
from mulo_sd.conformance.bench import in_memory
from mulo_sd.engines.backends.base import BackendError
from mulo_sd.engines.backends.torch_cuda import open as open_module
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.bundle.entries import FileEntry
from mulo_sd.export.modules import write_other_modules, write_transformer
from mulo_sd.reference.checkpoints.ta_tok import TATokConfig, TATokDecoder
from mulo_sd.reference.checkpoints.vq import VQConfig, VQTokenizer
from mulo_sd.reference.models import Models
from mulo_sd.reference.random_weights import fill
from tests.engines.backends.torch_cuda.small_decodes import CODES, SETTINGS, Small, decoded, pass_inputs


@pytest.mark.parametrize("family", ["llamagen", "tar"])
def test_a_bundle_without_files(small: Callable[[str], Small], family: str) -> None:
    made = small(family)
    bundle = in_memory.bundle_in_memory(made.models, made.ours, "llamagen" if family == "llamagen" else "tar", CODES)
    found, expected = (decoded(one, made.ours, SETTINGS["serial"]) for one in (made._replace(bundle=bundle), made))
    assert found.tokens.tolist() == expected.tokens.tolist()
    for null, other in zip(bundle.null_conditions, made.bundle.null_conditions, strict=True):
        assert null is not None
        assert other is not None
        assert np.array_equal(null, other)


def written(folder: Path, made: Small, models: Models, ta_tok: TATokDecoder | None) -> Bundle:
    """Return a bundle whose folder holds the weights of models."""
    modules: dict[str, FileEntry] = {}
    for number, name in enumerate(("target", "drafter_1")):
        modules[name] = write_transformer(folder, name, models.transformer(number), torch.float32)
    modules |= write_other_modules(folder, models, ta_tok, torch.float32)
    manifest = made.bundle.manifest.model_copy(update={"modules": modules})
    assert set(modules.values()) <= set(manifest.files())
    return replace(made.bundle, path=folder, manifest=manifest)


def test_a_bundles_weights_make_the_same_models(small: Callable[[str], Small], tmp_path: Path) -> None:
    made = small("demo")
    backend = open_module.open_on_device(written(tmp_path, made, made.models, None), "cpu")
    expected = decoded(made, made.plain, SETTINGS["serial"])
    assert decoded(made, backend, SETTINGS["serial"]).tokens.tolist() == expected.tokens.tolist()


def test_published_tokenizers_are_loaded(small: Callable[[str], Small], tmp_path: Path) -> None:
    """LlamaGen's VQ and TA-Tok, with what their tensors do not tell."""
    made, generator = small("tar"), torch.Generator().manual_seed(2)
    tokenizer = VQTokenizer(VQConfig(channels=32, z_channels=32, codes=CODES, code_dim=8))
    ta_tok = TATokDecoder(TATokConfig(50, 6, 6, 32, 1, 3, 4, unit_codes=False), 4)
    for module in (tokenizer, ta_tok):
        fill(module, generator, 1.0)
    models = Models(made.models.target, made.models.drafters, tokenizer)
    found, decoder = open_module.load_modules(written(tmp_path, made, models, ta_tok))
    assert isinstance(found.tokenizer, VQTokenizer)
    assert torch.equal(found.tokenizer.codebook, tokenizer.codebook)
    assert decoder is not None
    assert decoder.config == ta_tok.config
    ids = torch.tensor([3, 1, 4, 1])
    assert torch.equal(decoder(ids), ta_tok(ids))


@pytest.mark.parametrize(
    ("written_as", "said"),
    [
        ("[1]", "expected the fields"),
        ('{"heads": null}', "heads: expected a number"),
        ('{"heads": 0}', "heads: expected a number"),
        ('{"heads": [1]}', "heads: expected a number"),
        ('{"unit_codes": "yes"}', "unit_codes: expected one of"),
        ("{", "Expecting property name"),
        (None, "expected weights of a TATokConfig, got none named"),
    ],
)
def test_a_wrong_description_of_ta_tok(
    small: Callable[[str], Small], tmp_path: Path, written_as: str | None, said: str
) -> None:
    made, generator = small("tar"), torch.Generator().manual_seed(2)
    ta_tok = TATokDecoder(TATokConfig(50, 6, 6, 32, 1, 3, 4), 4)
    fill(ta_tok, generator, 1.0)
    bundle = written(tmp_path, made, made.models, ta_tok)
    metadata = None if written_as is None else {"TATokConfig": written_as}
    path = bundle.file(bundle.manifest.modules["semantic_features"])
    save_file(ta_tok.state_dict(), path, metadata)
    with pytest.raises(BackendError, match=said) as caught:
        open_module.load_modules(bundle)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_used_is_told_in_a_line(
    small: Callable[[str], Small], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = small("demo")
    with pytest.raises(BackendError, match="no weights of target, drafter_1, tokenizer; build it again"):
        open_module.load_modules(made.bundle)
    bundle = written(tmp_path, made, made.models, None)
    (tmp_path / "weights" / "tokenizer.safetensors").write_bytes(b"nothing")
    with pytest.raises(BackendError, match="weights cannot be used"):
        open_module.load_modules(bundle)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BackendError, match="expected an NVIDIA GPU"):
        engines.backends.make_backend("torch-cuda", bundle)
    with pytest.raises(BackendError, match="graph nothing: expected one of acceptance"):
        made.ours.run("nothing", {})
    cache = made.ours.new_cache("target", 1)
    slots = cache.storage.slots
    inputs = pass_inputs(made.models.target, slots, 0, 3, slots - 3) | {"write_index": np.array([slots - 2])}
    with pytest.raises(BackendError, match=f"expected writes into {slots} slots"):
        made.ours.feed("target", cache, inputs)
