"""Each kernel of a pass of few rows by itself, under Triton's interpreter: torch's own operations answer the same."""

from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mulo_sd.engines.backends.torch_cuda import check
from mulo_sd.engines.backends.torch_cuda.cache import PassInputs
from mulo_sd.engines.backends.torch_cuda.eager import embed
from mulo_sd.engines.backends.torch_cuda.few_tuning import DEFAULT_TUNING
from mulo_sd.engines.backends.torch_cuda.weights import TransformerWeights
from tests.engines.backends.torch_cuda.small_transformers import CONFIGS, CPU, random_transformer

CAPACITY, FILLED, PROGRAMS = 256, 77, 5


class Case(NamedTuple):
    """One pass of two sequences of two tokens, whose kernels are launched one by one.

    Attributes:
        kernels: A `few_launch.PassKernels`.
        buffers: Its `few_launch.Buffers`, filled with random numbers; x with what scaled and squares say of it.
        weights: A model's.
        keys: Float32[B, heads, S, head_dim], of one layer.
        values: The same.
        inputs: Of the pass.
    """

    kernels: Any
    buffers: Any
    weights: TransformerWeights
    keys: Tensor
    values: Tensor
    inputs: PassInputs


@pytest.fixture(params=CONFIGS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def made(name: str, splits: int = 1, batch: int = 2, length: int = 2) -> Case:
    from mulo_sd.engines.backends.torch_cuda.few_launch import PassKernels
    from mulo_sd.engines.backends.torch_cuda.few_rows import FewRows

    weights, generator = random_transformer(name, torch.float32), torch.Generator().manual_seed(2)
    config = weights.config
    tuning = DEFAULT_TUNING._replace(programs=PROGRAMS, splits=splits, block_s=32)
    buffers = FewRows(weights, CPU, tuning=tuning)._buffers(batch, length)
    for buffer in buffers:
        buffer.copy_(torch.randn(buffer.shape, generator=generator))
    buffers.scaled.copy_(buffers.x * weights.layers[0].attention_norm)
    buffers.squares.zero_()[:, 1] = buffers.x.square().sum(1)
    shape = (batch, config.heads, CAPACITY, config.head_dim)
    keys, values = (torch.randn(shape, generator=generator) for _ in range(2))
    inputs = check.random_inputs(weights, batch, length, FILLED, CAPACITY, generator)
    kernels = PassKernels(weights, tuning, False, buffers, inputs)
    return Case(kernels, buffers, weights, keys, values, inputs)


def launch(named: tuple[str, Any]) -> None:
    named[1]()


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def same_x(case: Case, expected: Tensor, norm: Tensor) -> None:
    """What changes x writes it, and what the next norm, of weights `norm`, needs."""
    close(case.buffers.x, expected)
    close(case.buffers.scaled, case.buffers.x * norm)
    close(case.buffers.squares.sum(1), case.buffers.x.square().sum(1))


def normed(case: Case, norm: Tensor) -> Tensor:
    return F.rms_norm(case.buffers.x, (case.weights.config.dim,), norm, case.weights.config.norm_eps)


@pytest.mark.usefixtures("interpreter")
def test_embed(name: str) -> None:
    case = made(name)
    launch(case.kernels.embed())
    expected = embed(case.weights, case.inputs).view(4, -1)
    assert torch.equal(case.buffers.x, expected)
    same_x(case, expected, case.weights.layers[0].attention_norm)


@pytest.mark.usefixtures("interpreter")
def test_qkv(name: str) -> None:
    """Queries and keys are turned by their positions; keys and values go into their slots alone."""
    case = made(name)
    config, layer = case.weights.config, case.weights.layers[0]
    joint = F.linear(normed(case, layer.attention_norm), layer.wqkv).view(4, 3, config.heads, -1, 2)
    queries, keys, values = (part.contiguous() for part in joint.unbind(1))
    if config.rotary:
        positions = case.inputs.positions.flatten()
        turn = torch.complex(case.weights.cos[positions], case.weights.sin[positions])[:, None]
        queries, keys = (torch.view_as_real(torch.view_as_complex(part) * turn) for part in (queries, keys))
    expected_keys, expected_values = case.keys.clone(), case.values.clone()
    for row in range(4):
        slot = int(case.inputs.write_index[row // 2]) + row % 2
        expected_keys[row // 2, :, slot] = keys[row].flatten(1)
        expected_values[row // 2, :, slot] = values[row].flatten(1)
    launch(case.kernels.qkv(layer, case.keys, case.values))
    close(case.buffers.query, queries.reshape(4, -1))
    close(case.keys, expected_keys)
    close(case.values, expected_values)


def attended(case: Case) -> Tensor:
    """What torch's attention answers, Float32[M, D]."""
    inputs, config = case.inputs, case.weights.config
    queries = case.buffers.query.view(2, 2, config.heads, -1).transpose(1, 2)
    visible = inputs.slot_ranks[:, None, None] <= inputs.positions[:, None, :, None]
    mixed = F.scaled_dot_product_attention(queries, case.keys, case.values, attn_mask=visible)
    return mixed.transpose(1, 2).reshape(4, -1)


@pytest.mark.usefixtures("interpreter")
def test_attend(name: str) -> None:
    """Dead slots and those of later positions have no weight."""
    case = made(name)
    expected = attended(case)
    launch(case.kernels.attend(case.keys, case.values))
    close(case.buffers.mixed, expected)


@pytest.mark.usefixtures("interpreter")
@pytest.mark.parametrize("splits", [2, 3, 4])
def test_attend_in_parts_and_out(name: str, splits: int) -> None:
    """What attention leaves in parts, the projection joins."""
    case = made(name, splits)
    layer = case.weights.layers[0]
    expected = case.buffers.x + F.linear(attended(case), layer.wo)
    launch(case.kernels.attend(case.keys, case.values))
    launch(case.kernels.out(layer))
    same_x(case, expected, layer.ffn_norm)


@pytest.mark.usefixtures("interpreter")
def test_a_part_that_sees_nothing_has_no_weight(name: str) -> None:
    case = made(name, splits=3)
    layer = case.weights.layers[0]
    case.inputs.slot_ranks[:, :64] = torch.iinfo(torch.int32).max
    expected = case.buffers.x + F.linear(attended(case), layer.wo)
    launch(case.kernels.attend(case.keys, case.values))
    assert (case.buffers.stats == -torch.inf).any()
    launch(case.kernels.out(layer))
    same_x(case, expected, layer.ffn_norm)


@pytest.mark.usefixtures("interpreter")
def test_out(name: str) -> None:
    case = made(name)
    layer = case.weights.layers[0]
    expected = case.buffers.x + F.linear(case.buffers.mixed, layer.wo)
    launch(case.kernels.out(layer))
    same_x(case, expected, layer.ffn_norm)


@pytest.mark.usefixtures("interpreter")
def test_swiglu(name: str) -> None:
    case = made(name)
    layer = case.weights.layers[0]
    gate, up = F.linear(normed(case, layer.attention_norm), layer.w13).chunk(2, dim=-1)
    launch(case.kernels.swiglu(layer))
    close(case.buffers.hidden, F.silu(gate) * up)


@pytest.mark.usefixtures("interpreter")
def test_down(name: str) -> None:
    case = made(name)
    layer = case.weights.layers[0]
    expected = case.buffers.x + F.linear(case.buffers.hidden, layer.w2)
    launch(case.kernels.down(layer, case.weights.norm))
    same_x(case, expected, case.weights.norm)


@pytest.mark.usefixtures("interpreter")
def test_head(name: str) -> None:
    case = made(name)
    launch(case.kernels.head())
    expected = F.linear(normed(case, case.weights.layers[0].attention_norm), case.weights.output)
    close(case.buffers.logits.view(4, -1), expected)
