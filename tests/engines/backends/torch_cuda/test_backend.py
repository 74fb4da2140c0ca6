"""The backend in torch, on the CPU: it decodes as the graphs' modules do, padded or not, in every precision."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mulo_sd.engines.backends.torch_cuda import check
from mulo_sd.engines.backends.torch_cuda.backend import TorchBackend
from mulo_sd.engines.bundle.contract import slot_count
from tests.engines.backends.torch_cuda.small_decodes import (
    CODES,
    FAMILIES,
    FIELDS,
    SETTINGS,
    Small,
    decoded,
    set_padding,
)


@pytest.mark.parametrize("chosen", SETTINGS)
@pytest.mark.parametrize("family", FAMILIES)
def test_decodes_are_those_of_the_graphs_modules(small: Callable[[str], Small], family: str, chosen: str) -> None:
    """Token for token, pass for pass; and padding changes nothing."""
    made = small(family)
    expected = decoded(made, made.plain, SETTINGS[chosen])
    for pads in (False, True):
        set_padding(made.ours, pads)
        found = decoded(made, made.ours, SETTINGS[chosen])
        assert found.tokens.tolist() == expected.tokens.tolist()
        assert [item.positions.tolist() for item in found.trace.passes] == [
            item.positions.tolist() for item in expected.trace.passes
        ]
    set_padding(made.ours, False)


def test_it_scores(small: Callable[[str], Small]) -> None:
    assert small("demo").ours.traits.scores


def test_stateless_graphs_answer_as_the_modules_do(small: Callable[[str], Small]) -> None:
    made, generator = small("demo"), np.random.default_rng(2)
    low, high = generator.integers(0, CODES, (2, 2)), generator.integers(0, CODES, (4, 4))
    logits = generator.standard_normal((2, 3, CODES), dtype=np.float32)
    sampling: dict[str, NDArray[Any]] = {
        "cond_logits": logits[0],
        "uncond_logits": logits[1],
        "guidance_scale": np.array(2.0, dtype=np.float32),
        "temperature": np.array(0.9, dtype=np.float32),
        "top_k": np.array(9),
        "top_p": np.array(0.8, dtype=np.float32),
    }
    asked: list[tuple[str, dict[str, NDArray[Any]]]] = [
        ("target_condition", {"condition": generator.integers(0, 7, (2, 2, FIELDS))}),
        ("up_sampler_2_bicubic", {"low_tokens": low}),
        ("up_sampler_2_nearest", {"low_tokens": low}),
        ("down_sampler_2_area", {"high_tokens": high}),
        ("down_sampler_2_bicubic", {"high_tokens": high}),
        ("decoder", {"tokens": high}),
        ("sampler", sampling | {"noise": generator.standard_normal((3, CODES), dtype=np.float32)}),
        (
            "acceptance",
            sampling | {"draft_tokens": np.array([1, 5, 9]), "neighbours": generator.integers(0, CODES, (CODES, 4))},
        ),
    ]
    for graph, inputs in asked:
        expected, found = made.plain.run(graph, inputs), made.ours.run(graph, inputs)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name].dtype == value.dtype
            np.testing.assert_allclose(found[name], value, atol=1e-4, err_msg=f"{graph} {name}")


def test_the_same_decode_has_the_same_bits(small: Callable[[str], Small]) -> None:
    made = small("llamagen")
    first, second = (decoded(made, made.ours, SETTINGS["parallel"], 8) for _ in range(2))
    assert first.tokens.tolist() == second.tokens.tolist()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_other_precisions_decode(small: Callable[[str], Small], dtype: torch.dtype) -> None:
    made = small("tar")
    backend = TorchBackend(made.models, dtype)
    assert backend.weights("target").output.dtype == dtype
    assert decoded(made, backend, SETTINGS["parallel"]).tokens.shape == (4, 4)


def test_kernels_that_fail_are_done_without(small: Callable[[str], Small], monkeypatch: pytest.MonkeyPatch) -> None:
    """No Triton, or kernels that answer something else: torch's own operations, and a note that says so."""
    monkeypatch.setitem(sys.modules, "triton", None)
    backend = TorchBackend(small("demo").models, kernels="triton")
    assert backend.kernels == "torch"
    assert "torch's own are used" in backend.notes[0]
    assert all(runner.kernels == () for runner in backend.runners.values())
    assert slot_count(small("demo").models.target.config) == 2 + 16 + 16


@pytest.mark.usefixtures("interpreter")
def test_wide_kernels_make_what_those_for_few_rows_cannot(
    small: Callable[[str], Small], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model too large for them, for one: with dependent launch and without, then wide kernels alone."""
    from mulo_sd.engines.backends.torch_cuda import few_rows

    def refuse(*_: object) -> int:
        raise ValueError("too large")

    monkeypatch.setattr(few_rows, "best_grid", refuse)
    monkeypatch.setattr(check, "SHAPES", ((2, 1),))
    monkeypatch.setattr(check, "REPEATS", 0)
    backend = TorchBackend(small("demo").models, kernels="triton")
    assert backend.kernels == "triton"
    assert backend.notes == [
        "fused kernels with pdl: ValueError: too large; others are tried",
        "fused kernels: ValueError: too large; others are tried",
    ]
    assert [[type(kernels).__name__ for kernels in runner.kernels] for runner in backend.runners.values()] == [
        ["WidePass"]
    ] * len(backend.runners)
