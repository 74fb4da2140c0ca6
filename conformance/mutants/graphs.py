"""Mutants of the exported graphs themselves: one tensor of the ONNX file is another."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from mulo_sd import engines
from mulo_sd.conformance.mutants.mutant import Make, Mutant
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.backends.ort.cpu import OnnxRuntimeBackend

Tensor = NDArray[Any]


def edited(change: Callable[[onnx.ModelProto], None]) -> Make:
    """Edit the target's graph, and run it on ONNX Runtime."""

    @contextmanager
    def make(subject: Subject) -> Iterator[Subject]:
        bundle = subject.pipeline.bundle
        entry = bundle.manifest.target
        model = onnx.load(bundle.file(bundle.manifest.graphs[entry.graph].onnx))
        change(model)
        backend = OnnxRuntimeBackend(bundle, threads=1)
        backend.sessions[entry.graph] = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        yield replace(subject, pipeline=engines.Pipeline(bundle, backend))

    return make


def change_rotary(model: onnx.ModelProto, change: Callable[[Tensor], Tensor]) -> None:
    """Change the tables of cosines and sines, Float[positions, head_dim / 2] each."""
    tables = [item for item in model.graph.initializer if item.name.rpartition(".")[2] in ("cos", "sin")]
    assert len(tables) == 2, f"expected two rotary tables in the graph, got {[item.name for item in tables]}"
    for item in tables:
        table = np.ascontiguousarray(change(onnx.numpy_helper.to_array(item)))
        item.CopyFrom(onnx.numpy_helper.from_array(table, item.name))


def _axes_swapped(model: onnx.ModelProto) -> None:
    """Turn the first half of the angles by the column, and the second by the row."""
    change_rotary(model, lambda table: np.roll(table, table.shape[1] // 2, axis=1))


def _off_by_one(model: onnx.ModelProto) -> None:
    """Turn each position as the next one."""
    change_rotary(model, lambda table: np.roll(table, -1, axis=0))


MUTANTS = (
    Mutant("rotary axes are swapped", "CONF-1", edited(_axes_swapped)),
    Mutant("rotary positions are off by one", "CONF-1", edited(_off_by_one)),
)
