"""Passes of few rows under Triton's interpreter, on the CPU: torch's own operations answer the same."""

from typing import Any

import pytest
import torch

from mulo_sd.engines.backends.torch_cuda import check
from mulo_sd.engines.backends.torch_cuda.few_tuning import DEFAULT_TUNING, Held, Tuning
from tests.engines.backends.torch_cuda.small_transformers import CLOSE, CONFIGS, CPU, random_transformer


@pytest.fixture
def few_rows(interpreter: Any) -> Any:
    """The module that makes passes, whose kernels the interpreter makes Python functions of."""
    from mulo_sd.engines.backends.torch_cuda import few_rows

    return few_rows


def tuning_of(kind: str) -> Tuning:
    """One program that has it all; programs that share; parts of slots, and weights that nobody loads ahead."""
    changes: dict[str, dict[str, Any]] = {
        "one program": {"programs": 1},
        "programs": {"programs": 5},
        "parts": {"programs": 7, "splits": 3, "block_s": 16, "held": Held(0.0, 0.0, 0.0, 0.0)},
        "two parts, one program": {"programs": 1, "splits": 2},
    }
    return DEFAULT_TUNING._replace(**changes[kind])


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("one program", (2, 1)),
        ("one program", (1, 2)),
        ("programs", (1, 1)),
        ("programs", (1, 3)),
        ("parts", (2, 2)),
        ("two parts, one program", (1, 4)),
    ],
)
@pytest.mark.parametrize("name", CONFIGS)
def test_logits_keys_and_values(
    few_rows: Any, name: str, kind: str, shape: tuple[int, int], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one row and of several, with dead slots and rows that differ."""
    weights = random_transformer(name, dtype)
    passes = few_rows.FewRows(weights, CPU, tuning=tuning_of(kind))
    assert passes.takes(shape[0] * shape[1])
    monkeypatch.setattr(check, "SHAPES", (shape,))
    monkeypatch.setattr(check, "REPEATS", 1)
    assert 0 < check.compare_kernels(weights, [passes], 77).error < CLOSE[dtype]


def test_a_pass_is_seven_kernels(few_rows: Any) -> None:
    """Embedding, five a layer, the head: no other."""
    weights = random_transformer("rotary and absolute", torch.float32)
    shape = (2, 1, 2, 256, 16)
    inputs = check.random_inputs(weights, 1, 1, 77, 256, torch.Generator().manual_seed(1))
    launches = few_rows.FewRows(weights, CPU).launches(torch.zeros(shape), torch.zeros(shape), inputs)
    layer = ["qkv", "attend", "out", "swiglu", "down"]
    assert [name for name, _ in launches] == ["embed", *layer, *layer, "head"]


def test_programs_share_evenly(few_rows: Any) -> None:
    """Of an H200's 132, as many as divide the XL transformer's outputs."""
    assert few_rows.best_grid(((1920, 2560), (1280, 4864), (3584, 2560)), 132) == 128
    assert few_rows.best_grid(((7, 1),), 1) == 1


def test_slots_are_attended_over_in_parts_where_programs_are_idle(few_rows: Any) -> None:
    weights = random_transformer("absolute", torch.float32)
    passes = few_rows.FewRows(weights, CPU, tuning=DEFAULT_TUNING._replace(programs=12))
    assert [passes.splits(batch) for batch in (1, 2, 3, 6, 7)] == [6, 3, 2, 1, 1]
    assert few_rows.FewRows(weights, CPU, tuning=DEFAULT_TUNING._replace(programs=128)).splits(1) == 8
