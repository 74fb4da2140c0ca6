"""Up- and down-samplers: filters, latent networks and their weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mulo_sd.reference import demo
from mulo_sd.reference.demo.accuracy import DEMO
from mulo_sd.reference.latent import LatentDownSampler, LatentScalerConfig, LatentUpSampler
from mulo_sd.reference.oracle_scores import oracle_score, up_sample_by
from mulo_sd.reference.scaling import cubic_kernel, enlarge, shrink
from mulo_sd.reference.weights import (
    WeightsError,
    load_latent_down_sampler,
    load_latent_up_sampler,
    load_tokenizer,
    save_weights,
)

CODES = 16


def scaler(is_up: bool, ratio: int, rows_above: int = 2) -> LatentUpSampler | LatentDownSampler:
    """Return an untrained one whose every weight counts."""
    with torch.random.fork_rng():
        torch.manual_seed(ratio)
        config = LatentScalerConfig(ratio, CODES, 4, 8, 1, 1, 8, rows_above)
        made = (LatentUpSampler if is_up else LatentDownSampler)(config, torch.randn(CODES, 4))
        with torch.no_grad():
            for weight in made.parameters():
                weight.normal_(0, 0.3)
    return made.eval()


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4), st.booleans(), st.data())
@torch.no_grad()
def test_later_rows_change_nothing_above(ratio: int, rows: int, columns: int, is_up: bool, data: st.DataObject) -> None:
    """SCALE-1, SCALE-2: a row depends on nothing after the row that it comes from."""
    step = 1 if is_up else ratio
    shape = (rows * step, columns * step)
    seed = data.draw(st.integers(0, 2**32 - 1))
    tokens = torch.from_numpy(np.random.default_rng(seed).integers(0, CODES, shape))
    first_changed = data.draw(st.integers(0, rows))
    other = tokens.clone()
    other[first_changed * step :] = (other[first_changed * step :] + 1) % CODES
    made = scaler(is_up, ratio)
    before, after = made.tokens_from_tokens(tokens), made.tokens_from_tokens(other)
    assert before.shape == ((rows * ratio, columns * ratio) if is_up else (rows, columns))
    same = first_changed * (ratio if is_up else 1)
    assert torch.equal(before[:same], after[:same])
    # The rows known so far give their own part of the whole, whatever comes later.
    if first_changed:
        assert torch.equal(made.tokens_from_tokens(tokens[: first_changed * step]), before[:same])


@torch.no_grad()
def test_a_centred_network_sees_the_row_below() -> None:
    tokens = torch.randint(0, CODES, (4, 4), generator=torch.Generator().manual_seed(1))
    other = tokens.clone()
    other[2:] = (other[2:] + 5) % CODES
    made = scaler(True, 2, rows_above=1)
    assert not torch.equal(made.features(tokens[None])[:, :4], made.features(other[None])[:, :4])


@torch.no_grad()
def test_codes_are_the_nearest() -> None:
    made = scaler(True, 2)
    tokens = torch.arange(12).reshape(3, 4)
    features = made.features(tokens[None])[0].double()
    distances = (features[:, :, None] - made.codebook.double()).square().sum(-1)
    assert torch.equal(made.tokens_from_tokens(tokens), distances.argmin(-1))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_filters(scale: int) -> None:
    """Every filter keeps a constant; shrinking by cubic keeps a ramp as well, away from the edges."""
    constant = torch.full((1, 3, 4 * scale, 6 * scale), 0.25)
    for name in ("bicubic", "bilinear", "nearest"):
        enlarged = enlarge(constant, scale, name)
        assert enlarged.shape == (1, 3, 4 * scale**2, 6 * scale**2)
        assert torch.allclose(enlarged, torch.tensor(0.25))
    ramp = torch.linspace(-1, 1, 12 * scale).expand(1, 3, 12 * scale, -1).contiguous()
    means = ramp.reshape(1, 3, 12, scale, 12, scale).mean(dim=(3, 5))
    assert torch.allclose(shrink(ramp, scale, "area"), means)
    assert torch.allclose(shrink(ramp, scale, "bicubic")[..., 2:-2], means[..., 2:-2], atol=1e-6)
    before, weights = cubic_kernel(scale)
    assert weights == pytest.approx(weights[::-1])
    assert before == (len(weights) - scale) // 2


@pytest.mark.parametrize(("resize", "name"), [(enlarge, "area"), (shrink, "nearest"), (enlarge, "latent")])
def test_unknown_filters(resize: object, name: str) -> None:
    with pytest.raises(ValueError, match=rf"_sampler: expected one of .*, got '{name}'$"):
        resize(torch.zeros(1, 3, 4, 4), 2, name)  # type: ignore[operator]  # either of two functions


def test_weights(tmp_path: Path) -> None:
    """What is saved is loaded; an up-sampler is no down-sampler, and a tokenizer neither."""
    made, path = scaler(True, 2), tmp_path / "up.safetensors"
    save_weights(made, made.config, path)
    loaded = load_latent_up_sampler(path)
    tokens = torch.arange(12).reshape(3, 4)
    assert loaded.config == made.config
    half = {name: value.half().float() for name, value in made.state_dict().items()}
    made.load_state_dict(half)
    assert torch.equal(loaded.tokens_from_tokens(tokens), made.tokens_from_tokens(tokens))
    with pytest.raises(WeightsError, match="unknown, missing or misshapen tensors"):
        load_latent_down_sampler(path)
    with pytest.raises(WeightsError, match="expected weights of a TokenizerConfig, got LatentScalerConfig"):
        load_tokenizer(path)


def test_the_shipped_ratio_4_beats_pixels() -> None:
    """From 8 x 8 tokens a resize filter cannot tell a shape; the trained network can."""
    models, scenes = demo.load(), DEMO.scenes(4, 0)
    by_pixels, _ = oracle_score(up_sample_by(models, "bicubic", (4,)), models.tokenizer, 8, scenes)
    by_network, _ = oracle_score(up_sample_by(models, "latent", (4,)), models.tokenizer, 8, scenes)
    assert by_network >= by_pixels + 0.2


def test_a_sampler_from_a_file_takes_the_place_of_its_ratio(tmp_path: Path) -> None:
    models = demo.load()
    shipped = models.latent_up_samplers[2]
    with torch.random.fork_rng():
        other = LatentUpSampler(shipped.config, models.tokenizer.codebook)
    save_weights(other, other.config, tmp_path / "other.safetensors")
    replaced = demo.with_latent_samplers(models, [tmp_path / "other.safetensors"], [])
    assert replaced.latent_up_samplers[4] is models.latent_up_samplers[4]
    assert replaced.latent_down_samplers == models.latent_down_samplers
    tokens = torch.arange(64).reshape(8, 8)
    assert not torch.equal(replaced.up_sample("latent", tokens, 2), models.up_sample("latent", tokens, 2))
    assert models.latent_up_samplers[2] is shipped


@pytest.mark.parametrize(
    ("ratio", "is_up", "own_codes", "said"),
    [
        (8, True, True, "expected a sampler of ratio 2 or 4, got 8"),
        (2, True, False, "another's; train one for it"),
        (2, False, True, "misshapen tensors"),
    ],
)
def test_a_sampler_that_does_not_fit_is_refused(
    ratio: int, is_up: bool, own_codes: bool, said: str, tmp_path: Path
) -> None:
    models = demo.load()
    codebook = models.tokenizer.codebook
    codes, code_dim = codebook.shape
    config = LatentScalerConfig(ratio, codes, code_dim, 8, 1, 1, 8, 2)
    made = (LatentUpSampler if is_up else LatentDownSampler)(config, codebook if own_codes else codebook.flip(0))
    save_weights(made, config, tmp_path / "it.safetensors")
    with pytest.raises(WeightsError, match=said):
        demo.with_latent_samplers(models, [tmp_path / "it.safetensors"], [])
