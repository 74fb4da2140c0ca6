"""Training of latent up- and down-samplers."""

from pathlib import Path
from typing import get_args

import pytest
import torch

from mulo_sd.reference.demo.shipped import SHIPPED
from mulo_sd.reference.tokenizer import Tokenizer
from mulo_sd.reference.train.run import Run
from mulo_sd.reference.train.scaler_losses import ScalerLoss, perceptual_distance
from mulo_sd.reference.weights import load_tokenizer
from tests.reference.train.tiny import make_vq_tokenizer, scaler_trainee


@pytest.mark.parametrize("loss", get_args(ScalerLoss))
def test_training_learns_and_resumes(loss: ScalerLoss, tmp_path: Path) -> None:
    """The loss falls, and a run that was stopped ends as one that was not."""
    tokenizer = load_tokenizer(SHIPPED / "tokenizer.safetensors")  # an untrained one would teach nothing
    whole = scaler_trainee(tokenizer, loss)
    losses = [whole.step(20 + step % 3, 60)["loss"] for step in range(24)]  # three batches again and again
    assert all(late < early for early, late in zip(losses[:3], losses[-3:], strict=True))
    unbroken, first = scaler_trainee(tokenizer, loss), scaler_trainee(tokenizer, loss)
    for step in range(4):
        unbroken.step(step, 5)
    first.step(0, 5)
    first.step(1, 5)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    resumed = scaler_trainee(tokenizer, loss)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for step in (2, 3):
        resumed.step(step, 5)
    for name, value in unbroken.scaler.state_dict().items():
        assert torch.equal(value, resumed.scaler.state_dict()[name]), name


def test_a_run_draws_its_samples(tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    Run(tmp_path / "run", 2).train(scaler_trainee(tiny_tokenizer, "token", is_up=False))
    assert (tmp_path / "run" / "samples.png").stat().st_size > 0


@pytest.mark.parametrize("is_up", [True, False])
@pytest.mark.parametrize("loss", ["token", "pixel-gan"])
def test_a_published_tokenizer_teaches_as_well(loss: ScalerLoss, is_up: bool) -> None:
    """And stays as it is."""
    tokenizer = make_vq_tokenizer()
    before = {name: value.clone() for name, value in tokenizer.state_dict().items()}
    trainee = scaler_trainee(tokenizer, loss, is_up)
    losses = [trainee.step(50, 100)["loss"] for _ in range(12)]
    # The images of random codes teach nothing but that steps are taken.
    assert losses[-1] < 0.9 * losses[0] if loss == "token" else len(set(losses)) == len(losses)
    assert torch.tensor(losses).isfinite().all()
    assert all(torch.equal(value, before[name]) for name, value in tokenizer.state_dict().items())


@torch.no_grad()
def test_perceptual_distance_of_both_kinds_of_encoders(tiny_tokenizer: Tokenizer) -> None:
    """It is 0 for an image itself, and grows with what is done to it."""
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for tokenizer in (tiny_tokenizer, make_vq_tokenizer()):
        little, much = (images + by * images.flip(3) for by in (0.1, 0.6))
        assert float(perceptual_distance(tokenizer, images, images)) == 0
        distances = [float(perceptual_distance(tokenizer, other, images)) for other in (little, much)]
        assert 0 < distances[0] < distances[1]
