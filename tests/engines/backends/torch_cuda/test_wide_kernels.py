"""Kernels of passes of many tokens under Triton's interpreter, on the CPU: torch's own operations answer the same."""

from typing import Any

import pytest
import torch
from torch import Tensor

from mulo_sd.engines.backends.torch_cuda import check
from mulo_sd.engines.backends.torch_cuda.cache import DEAD, PassInputs
from mulo_sd.engines.backends.torch_cuda.eager import run_eagerly
from mulo_sd.engines.backends.torch_cuda.weights import TransformerWeights
from tests.engines.backends.torch_cuda.small_transformers import CLOSE, random_transformer

CAPACITY = 256
# Every way to cut attention; (2, 24) of float32 and all of 33 tokens and more leave out blocks that nobody sees.
CASES = [
    ("rotary and absolute", (2, 4), torch.float32),
    ("rotary and absolute", (1, 40), torch.float16),
    ("zero prefix rotation", (2, 24), torch.float32),
    ("zero prefix rotation", (4, 3), torch.float16),
    ("absolute", (1, 40), torch.float32),
    ("absolute", (2, 24), torch.float16),
    ("absolute", (1, 2), torch.float16),
]


def random_caches(weights: TransformerWeights, rows: int) -> tuple[Tensor, Tensor]:
    config, generator = weights.config, torch.Generator().manual_seed(3)
    shape = (config.layers, rows, config.heads, CAPACITY, config.head_dim)
    keys, values = (torch.randn(shape, generator=generator).to(weights.dtype) for _ in range(2))
    return keys, values


def some_inputs(weights: TransformerWeights, batch: int, length: int, filled: int = 77) -> PassInputs:
    generator = torch.Generator().manual_seed(4)
    return check.random_inputs(weights, batch, length, filled, CAPACITY, generator)


@pytest.fixture
def wide(interpreter: Any) -> Any:
    """The module that makes passes, whose kernels the interpreter makes Python functions of."""
    from mulo_sd.engines.backends.torch_cuda import wide

    return wide


@pytest.mark.parametrize(("name", "shape", "dtype"), CASES)
def test_logits_keys_and_values(
    wide: Any, name: str, shape: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dead slots and rows that differ; slots are attended over in parts."""
    weights = random_transformer(name, dtype, side=7)
    monkeypatch.setattr(check, "SHAPES", (shape,))
    passes = wide.WidePass(weights, torch.device("cpu"))
    found = check.compare_kernels(weights, [passes], 177)
    assert 0 < found.error < CLOSE[dtype]
    assert not passes.arrived.any()


@pytest.mark.parametrize("tiling", [(64, 64, 4, 3, True), (128, 64, 8, 3, True), (32, 128, 4, 2, False)])
@pytest.mark.parametrize("splits", [1, 2])
def test_every_tiling_attends_to_the_same(
    wide: Any, tiling: tuple[Any, ...], splits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = random_transformer("rotary and absolute", torch.float32, side=7)
    monkeypatch.setattr(wide, "tiling_of", lambda *_: wide.Tiling(*tiling))
    monkeypatch.setattr(wide, "splits_of", lambda *_: splits)
    monkeypatch.setattr(check, "SHAPES", ((1, 45),))
    passes = wide.WidePass(weights, torch.device("cpu"))
    assert check.compare_kernels(weights, [passes], 177).error < 1e-5


def test_a_prefix(wide: Any) -> None:
    """Embeddings where there is no token; the first row is a prefix, the second feeds tokens."""
    weights = random_transformer("zero prefix rotation", torch.float32, side=7)
    inputs = some_inputs(weights, 2, 5)
    inputs.tokens[0] = -1
    inputs.positions[0] = torch.arange(5)
    inputs.write_index[0] = 0
    inputs.slot_ranks[0] = DEAD
    inputs.slot_ranks[0, :5] = torch.arange(5)
    prefix = torch.randn(2, 5, 60, generator=torch.Generator().manual_seed(5))
    expected_caches, caches = random_caches(weights, 2), random_caches(weights, 2)
    expected = run_eagerly(weights, *expected_caches, inputs, CAPACITY, prefix)
    found = wide.WidePass(weights, torch.device("cpu")).run(*caches, inputs, prefix)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    for ours, theirs in zip(caches, expected_caches, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_rows_of_a_larger_batch(wide: Any) -> None:
    """A pass over part of the rows leaves the others alone."""
    weights = random_transformer("absolute", torch.float32, side=7)
    inputs = some_inputs(weights, 2, 4)
    expected_caches, caches = random_caches(weights, 4), random_caches(weights, 4)
    keys, values = expected_caches
    expected = run_eagerly(weights, keys[:, 1:3], values[:, 1:3], inputs, CAPACITY)
    passes = wide.WidePass(weights, torch.device("cpu"))
    found = passes.run(*(part[:, 1:3] for part in caches), inputs)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    for ours, theirs in zip(caches, expected_caches, strict=True):
        assert torch.equal(ours[:, ::3], theirs[:, ::3])
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


def test_padding_and_dead_slots_change_nothing(wide: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last token once more, in dead slots; what dead slots hold; blocks that nobody sees are not read at all."""
    monkeypatch.setattr(wide, "splits_of", lambda *_: 2)
    weights = random_transformer("rotary and absolute", torch.float32, side=7)
    inputs = some_inputs(weights, 2, 20)
    inputs.slot_ranks[:, 32:64] = DEAD
    passes = wide.WidePass(weights, torch.device("cpu"))
    expected = passes.run(*random_caches(weights, 2), inputs)
    again = passes.run(*random_caches(weights, 2), inputs)
    assert torch.equal(again, expected)

    def padded(part: Tensor) -> Tensor:
        return torch.cat([part, part[:, -1:].expand(-1, 4)], dim=1).contiguous()

    longer = inputs._replace(tokens=padded(inputs.tokens), positions=padded(inputs.positions))
    caches = random_caches(weights, 2)
    for part in caches:
        part[:, :, :, 32:64] = torch.nan
        part[:, :, :, 100:] = 1e4
        part[:, :, :, :32] = part[:, :, :, :32].where((inputs.slot_ranks[:, :32] < DEAD)[None, :, None, :, None], -1e4)
    found = passes.run(*caches, longer)
    torch.testing.assert_close(found[:, :20], expected, atol=1e-5, rtol=1e-4)


def test_slots_are_split_over_the_gpu(wide: Any) -> None:
    assert [wide.splits_of(programs, 4) for programs in (1, 40, 80, 160, 320)] == [16, 8, 4, 2, 1]
    assert wide.splits_of(320, 8) == 1
    half = torch.float16
    assert [wide.tiling_of(length, half, 64).block_m for length in (2, 17, 200, 511, 512)] == [16, 32, 64, 64, 128]
    assert wide.tiling_of(512, torch.float32, 64).warps in wide.FILLING
