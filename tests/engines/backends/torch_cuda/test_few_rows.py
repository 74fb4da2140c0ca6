"""Passes of few rows under Triton's interpreter, on the CPU: torch's own operations answer the same."""

from typing import Any

import pytest
import torch

from mulo_sd.engines.backends.torch_cuda import check
from mulo_sd.engines.backends.torch_cuda.weights import TransformerWeights, pack
from mulo_sd.reference.random_weights import fill
from mulo_sd.reference.transformer import Transformer, TransformerConfig

pytest.importorskip("triton", reason="the kernels are Triton's, which comes with torch for a GPU")
CPU = torch.device("cpu")
CONFIGS: dict[str, dict[str, Any]] = {
    "rotary and absolute": {"dim": 32, "layers": 2},
    "zero prefix rotation": {"dim": 60, "heads": 3, "vocabulary": 52, "absolute": False, "zero_prefix_rotation": True},
    "absolute": {"dim": 32, "rotary": False},
}


@pytest.fixture
def persistent(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that launches kernels, of which the interpreter makes Python functions."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    from mulo_sd.engines.backends.torch_cuda import few_rows as persistent

    return persistent


def made_weights(name: str, dtype: torch.dtype) -> TransformerWeights:
    sizes = {"layers": 1, "heads": 2, "vocabulary": 32, "prefix_length": 5, "prefix_vocabulary": 9} | CONFIGS[name]
    model = Transformer(TransformerConfig(4, 4, **sizes))
    fill(model, torch.Generator().manual_seed(1), 2.0)
    return pack(model, dtype, CPU)


def settings_of(persistent: Any, kind: str) -> tuple[str, Any]:
    """One program, which waits for nobody; programs that share, phase by phase; parts of slots, nothing held."""
    return {
        "one program": ("persistent", persistent.Settings(programs=1)),
        "programs": ("chained", persistent.Settings(programs=5)),
        "parts": (
            "chained",
            persistent.Settings(programs=7, splits=3, block_s=16, held=persistent.Held(0.0, 0.0, 0.0, 0.0)),
        ),
    }[kind]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    ("kind", "shape"), [("one program", (2, 1)), ("one program", (1, 2)), ("programs", (1, 1)), ("parts", (2, 2))]
)
@pytest.mark.parametrize("name", CONFIGS)
def test_logits_keys_and_values(
    persistent: Any, name: str, kind: str, shape: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one row and of several, with dead slots and rows that differ."""
    weights = made_weights(name, dtype)
    way, settings = settings_of(persistent, kind)
    passes = persistent.FewRows(weights, CPU, way, settings)
    assert passes.takes(shape[0] * shape[1])
    monkeypatch.setattr(check, "SHAPES", (shape,))
    monkeypatch.setattr(check, "REPEATS", 1)
    try:
        found = check.compare_kernels(weights, passes, 77)
    except Exception as error:  # the interpreter's own class, which hides the cause
        if "0-dimensional" not in str(error):
            raise
        pytest.skip("Triton's interpreter takes arrays of one number for numbers, as this numpy does not")
    assert found.error < {torch.float32: 1e-5, torch.float16: 5e-3}[dtype]
    assert passes.trouble() is None


def test_waiting_in_vain_is_told(persistent: Any) -> None:
    passes = persistent.FewRows(made_weights("absolute", torch.float32), CPU, settings=persistent.Settings(programs=1))
    passes._buffers(1, 1).error.fill_(1)
    assert passes.trouble() == "programs waited for each other in vain"


def test_programs_share_evenly(persistent: Any) -> None:
    """Of an H200's 132, as many as divide the XL transformer's outputs."""
    assert persistent.best_grid(((1920, 2560), (1280, 4864), (3584, 2560)), 132) == 128
    assert persistent.best_grid(((7, 1),), 1) == 1
