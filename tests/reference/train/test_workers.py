"""Workers: between them they see one batch, and end with the weights that one process would have."""

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mulo_sd.reference.train import autoregressive
from mulo_sd.reference.train.devices import CPU
from mulo_sd.reference.train.run_workers import run_workers
from mulo_sd.reference.train.workers import Workers
from tests.reference.train.tiny import autoregressive_trainee

STEPS, BATCH = 3, 4


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(1, 40))
def test_worker_shares_cover_the_batch_once_and_evenly(batch: int, count: int) -> None:
    shares = [Workers(rank, count).share(batch) for rank in range(count)]
    assert [image for share in shares for image in share] == list(range(batch))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_workers_see_the_images_of_one_batch_between_them() -> None:
    """Two workers' shares are the one worker's batch, prefixes that were dropped included."""
    trainee = autoregressive_trainee(batch=16, others=(8,))
    whole = trainee._batch(7)
    shares = []
    for rank in range(2):
        trainee.workers = Workers(rank, 2)
        shares.append(trainee._batch(7))
    for index, expected in enumerate(whole):
        assert torch.equal(torch.cat([share[index] for share in shares]), expected)
    prefixes, tokens, contexts, weights, _ = whole
    tokens = tokens[:, :-1]
    assert not torch.equal(tokens, contexts)
    dropped = prefixes[:, 0, 0] == 1
    assert 0 < dropped.sum() < len(dropped)
    # Where objects lie is told by the condition; without it no cell weighs more than another.
    assert (weights[dropped] == 1).all()
    assert set(weights[~dropped].flatten().tolist()) == {1.0, 5.0}


def train_a_little(folder: Path, workers: Workers) -> None:
    """Take a few steps in float32, in which the halves of a batch sum to the whole but for rounding."""
    with patch.object(autoregressive, "mixed_precision", lambda device: nullcontext()):
        trainee = autoregressive_trainee(workers, BATCH)
        for step in range(STEPS):
            trainee.step(50 + step, 1000)  # at the full learning rate
    torch.save(trainee.model.state_dict(), folder / f"{workers.rank}-of-{workers.count}.pt")


def test_two_processes_end_with_the_weights_of_one(tmp_path: Path) -> None:
    """Also where one half of the batch weighs more than the other: its objects are larger."""
    weights = [half.sum() for half in autoregressive_trainee(batch=BATCH)._batch(50)[3].chunk(2)]
    assert weights[0] != weights[1]
    for count in (1, 2):
        run_workers(count, 1, CPU, partial(train_a_little, tmp_path))
    alone, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("0-of-1", "0-of-2", "1-of-2"))
    begun = autoregressive_trainee(batch=BATCH).model.state_dict()
    for name, expected in alone.items():
        assert torch.equal(first[name], second[name]), name
        moved = float((expected - begun[name]).abs().max())
        assert moved > 0, name
        # Muon multiplies in bfloat16, whose last bit falls as a processor rounds; that moves the rest.
        assert float((first[name] - expected).abs().max()) < 0.03 * moved, name
