"""Large weights lie beside the graphs, each once, whichever graphs share them; a runtime finds them there."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
import torch
from torch import nn

from mulo_sd.export import external_weights
from mulo_sd.export.build_graph import cast_copy
from mulo_sd.export.external_weights import ALIGNMENT, ExternalWeights
from mulo_sd.export.graphs.specification import GraphSpecification
from mulo_sd.export.onnx_from_torch import onnx_from_torch

WIDTH = 64


class Double(nn.Module):
    """Two products, of which another graph has the first."""

    def __init__(self, first: nn.Linear, second: nn.Linear) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.second(torch.relu(self.first(x)))
        return y


def graph_of(name: str, module: nn.Module, argument: str, x: torch.Tensor) -> GraphSpecification:
    return GraphSpecification(
        name=name,
        module=module,
        example={argument: x},
        dynamic={},
        input_names=("x",),
        output_names=("y",),
        ranges={},
        kind="features",
        compared="y",
        weights="shared",
    )


@pytest.mark.parametrize("limit", [0, 2**20])
def test_weights_are_stored_once(limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(external_weights, "LARGE_GRAPH", limit)
    torch.manual_seed(2)
    first, second = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH)
    x = torch.randn(3, WIDTH)
    store = ExternalWeights(tmp_path)
    for name, module in (("both", Double(first, second)), ("one", first)):
        model = onnx_from_torch(graph_of(name, module, "x" if name == "both" else "input", x))
        store.put(model, "shared")
        onnx_ir.save(model, tmp_path / f"{name}.onnx")
        onnx.checker.check_model(tmp_path / f"{name}.onnx")
        session = onnxruntime.InferenceSession(tmp_path / f"{name}.onnx", providers=["CPUExecutionProvider"])
        np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], module(x).detach().numpy(), atol=1e-5)
    if limit:
        assert store.files() == []
        return
    matrix = WIDTH * WIDTH * 4
    assert [path.name for path in store.files()] == ["shared.weights"]
    assert (tmp_path / "shared.weights").stat().st_size == -(-matrix // ALIGNMENT) * ALIGNMENT + matrix
    assert (tmp_path / "one.onnx").stat().st_size < matrix
    inside = onnx.load(tmp_path / "both.onnx", load_external_data=False).graph.initializer
    offsets = [int(entry.value) for item in inside for entry in item.external_data if entry.key == "offset"]
    assert all(offset % ALIGNMENT == 0 for offset in offsets)


def test_a_cast_copy_shares_nothing(tmp_path: Path) -> None:
    """Parameters and buffers are in the other precision, tied ones stay tied, and the original is as it was."""
    norm = nn.BatchNorm1d(4)
    module = nn.Sequential(nn.Linear(4, 4), norm, norm)
    copied = cast_copy(module, torch.float16)
    assert copied[0].weight.dtype == copied[1].running_mean.dtype == torch.float16
    assert copied[1].num_batches_tracked.dtype == torch.long
    assert copied[1] is copied[2]
    assert module[0].weight.dtype == torch.float32
    same = cast_copy(module, torch.float32)
    assert torch.equal(same.get_parameter("0.weight"), module.get_parameter("0.weight"))
