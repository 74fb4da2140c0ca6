"""Graphs are those that torch's exporter makes by itself, in less work."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir
import pytest
import torch
from torch import Tensor, nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

from mulo_sd.export import exporter_shortcuts as shortcuts
from mulo_sd.export.build_graph import cast_copy
from mulo_sd.export.graphs.listing import specifications
from mulo_sd.export.onnx_from_torch import onnx_from_torch
from mulo_sd.export.onnx_runner import onnx_runner
from mulo_sd.reference.models import Models

NAMES = ("a", "b")


class Logic(nn.Module):
    """Operators that torch writes in another way before it translates them, and a dtype that is the same already."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        both = (a > 0) & (b > 1)
        return (both | (a < -1)).to(torch.float32) + a.to(torch.float32)


class Mixed(nn.Module):
    """Whole numbers and truths beside float32, which torch promotes by itself and ONNX does not."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        steps = torch.arange(a.shape[1])
        return a * steps + b / 2 + (steps > 1) * a + torch.where(b > 0, steps, a)


class InPlace(nn.Module):
    """An operator that writes where it reads: it has to be written in another way."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        total = a.clone()
        total[:, 0] = 0.0
        return total.add_(b)


class Branching(nn.Module):
    """A graph in a graph."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        def either(x: Tensor, y: Tensor) -> Tensor:
            return (x > 0).to(torch.float32) + y

        def other(x: Tensor, y: Tensor) -> Tensor:
            return x - y

        chosen: Tensor = torch.cond(a.sum() > 0, either, other, (a, b))
        return chosen


def exported(module: nn.Module) -> onnx_ir.Model:
    """Export a module of two matrices of as many columns; rows are dynamic."""
    rows = {0: torch.export.Dim("rows", min=1, max=64)}
    program = torch.onnx.export(
        module.eval(),
        args=(torch.randn(3, 4), torch.randn(3, 4)),
        dynamo=True,
        opset_version=24,
        input_names=list(NAMES),
        output_names=["out"],
        dynamic_shapes=(rows, rows),
        verbose=False,
    )
    assert program is not None
    return program.model


def run(model: onnx_ir.Model, file: Path, rows: int) -> tuple[dict[str, Tensor], Tensor]:
    onnx_ir.save(model, file)
    generator = torch.Generator().manual_seed(rows)
    inputs = {name: torch.randn(rows, 4, generator=generator) * 2 for name in NAMES}
    return inputs, onnx_runner(file)(inputs)["out"]


@pytest.mark.parametrize("module", [Logic(), Mixed(), InPlace(), Branching()], ids=lambda module: type(module).__name__)
@pytest.mark.filterwarnings("ignore")  # torch's exporter warns of its own deprecated internals
def test_graphs_answer_as_torch_and_without_shortcuts(module: nn.Module, tmp_path: Path) -> None:
    with shortcuts.exporter_shortcuts():
        quick = exported(module)
    slow = exported(module)
    for rows in (1, 3, 7):
        inputs, out = run(quick, tmp_path / "quick.onnx", rows)
        assert torch.equal(out, run(slow, tmp_path / "slow.onnx", rows)[1])
        torch.testing.assert_close(out, module(*inputs.values()))


@pytest.mark.parametrize(("module", "times"), [(Logic(), 0), (Mixed(), 0), (InPlace(), 1), (Branching(), 1)])
@pytest.mark.filterwarnings("ignore")
def test_what_has_no_translation_is_traced_again(
    module: nn.Module, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    traced = []
    by_tracing = shortcuts._decompose_by_tracing

    def counted(*arguments: Any) -> Any:
        traced.append(arguments)
        return by_tracing(*arguments)

    monkeypatch.setattr(shortcuts, "_decompose_by_tracing", counted)
    with shortcuts.exporter_shortcuts():
        exported(module)
    assert len(traced) == times


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_no_graph_of_a_bundle_is_traced_twice(
    toy_models: Models, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shortcuts, "_decompose_by_tracing", lambda *_: pytest.fail("traced a second time"))
    listed = {item.name: item for item in specifications(toy_models, dtype, 3)}
    for name in ("target", "target_condition", "up_sampler_2_bicubic", "down_sampler_2_area", "decoder", "acceptance"):
        item = listed[name]
        if item.kind in ("logits", "embeddings", "pixels"):
            item = replace(item, module=cast_copy(item.module, dtype))
        onnx_from_torch(item)


def test_a_caller_s_own_translation_is_the_caller_s_alone() -> None:
    operator = torch.ops.aten.igamma.default
    with shortcuts.exporter_shortcuts():
        registry = ONNXRegistry.from_torchlib(opset_version=24)
        known = Counter(registry.functions.keys())
        assert not registry.is_registered(operator)
        registry.register_op(operator, lambda x: x)
        assert registry.is_registered(operator)
        again = ONNXRegistry.from_torchlib(opset_version=24)
    assert not again.is_registered(operator)
    assert Counter(again.functions.keys()) == known
    assert again.opset_version == 24
