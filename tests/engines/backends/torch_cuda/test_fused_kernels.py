"""The fused kernels under Triton's interpreter, on the CPU: torch's own operations answer the same."""

from typing import Any

import pytest
import torch

from mulo_sd.engines.backends.torch_cuda import check
from mulo_sd.engines.backends.torch_cuda.weights import pack
from mulo_sd.reference.random_weights import fill
from mulo_sd.reference.transformer import Transformer, TransformerConfig

pytest.importorskip("triton", reason="the fused kernels are Triton's, which comes with torch for a GPU")
CONFIGS: dict[str, dict[str, Any]] = {
    "rotary and absolute": {"dim": 32, "layers": 2},
    "zero prefix rotation": {"dim": 60, "heads": 3, "vocabulary": 52, "absolute": False, "zero_prefix_rotation": True},
    "absolute": {"dim": 32, "rotary": False},
}


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that launches kernels, of which the interpreter makes Python functions."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    from mulo_sd.engines.backends.torch_cuda import fused

    return fused


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (1, 3), (2, 2)])
@pytest.mark.parametrize("name", CONFIGS)
def test_logits_keys_and_values(
    fused: Any, name: str, shape: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one row and of several, with dead slots and rows that differ."""
    sizes = {"layers": 1, "heads": 2, "vocabulary": 32, "prefix_length": 5, "prefix_vocabulary": 9} | CONFIGS[name]
    model = Transformer(TransformerConfig(4, 4, **sizes))
    fill(model, torch.Generator().manual_seed(1), 2.0)
    weights = pack(model, dtype, torch.device("cpu"))
    kernels = fused.FusedPass(weights, torch.device("cpu"))
    assert kernels.takes(shape[0] * shape[1])
    monkeypatch.setattr(check, "SHAPES", (shape,))
    try:
        found = check.compare_kernels(weights, kernels, 77)
    except Exception as error:  # the interpreter's own class, which hides the cause
        if "0-dimensional" not in str(error):
            raise
        pytest.skip("Triton's interpreter takes arrays of one number for numbers, as this numpy does not")
    assert found.error < {torch.float32: 1e-5, torch.float16: 5e-3}[dtype]


def test_slots_are_split_over_the_gpu(fused: Any) -> None:
    assert [fused.splits_of(programs) for programs in (1, 20, 40, 80, 1000)] == [16, 16, 8, 4, 1]
