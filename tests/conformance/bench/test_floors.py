"""The arithmetic of floors, by hand; and that what is measured is sound."""

import numpy as np
import pytest
import torch

from mulo_sd.conformance.bench.floors import (
    MIB,
    Machine,
    ModelSize,
    PassSize,
    best_seconds,
    floor_of,
    measure_cpu,
    model_size,
    moved_bytes,
    operation_count,
)
from mulo_sd.conformance.bench.passes import pass_inputs, pass_rows, pass_sizes
from mulo_sd.conformance.bench.torch_rates import cpu_rates
from mulo_sd.engines.backends.base import Tensors
from mulo_sd.engines.rules.slots import DEAD_RANK
from mulo_sd.export.full_size import _transformer
from mulo_sd.reference.models import Models
from mulo_sd.reference.transformer import Transformer
from tests.fakes.torch_backend import TorchBackend, bundle_in_memory

MODEL = ModelSize(layers=2, dim=8, hidden=16, vocabulary=32)
MACHINE = Machine("a machine", 2, {1000: 4e9, 10**6: 1e9}, {"fp32": 1e10, "bf16": 4e10})


def test_bytes_and_operations_by_hand() -> None:
    weights = 2 * (4 * 8 * 8 + 3 * 8 * 16) + 8 * 32
    assert MODEL.linear_weights == weights
    size = PassSize(batch=2, fed=3, slots=10)
    assert moved_bytes(MODEL, size, "fp32") == 4 * weights + 2 * 2 * 2 * 10 * 8 * 4 + 4 * 2 * 3 * 32
    assert moved_bytes(MODEL, size, "bf16") == 2 * weights + 2 * 2 * 2 * 10 * 8 * 2 + 4 * 2 * 3 * 32
    assert operation_count(MODEL, size) == 2 * weights * 6 + 4 * 6 * 10 * 8 * 2


def test_linear_weights_are_those_of_the_reference() -> None:
    for config in (_transformer("llamagen", 16), _transformer("tar", 16)):
        size = ModelSize(config.layers, config.dim, config.hidden, config.vocabulary)
        with torch.device("meta"):
            model = Transformer(config)
        counted = [
            weight.numel()
            for name, weight in model.named_parameters()
            if name.startswith(("layers", "output")) and weight.ndim == 2
        ]
        assert size.linear_weights == sum(counted)


def test_which_term_binds() -> None:
    one = floor_of(MACHINE, MODEL, PassSize(2, 1, 10), "fp32")
    many = floor_of(MACHINE, MODEL, PassSize(2, 4096, 10), "fp32")
    assert one is not None
    assert many is not None
    assert (one.binds, many.binds) == ("memory", "compute")
    assert one.seconds == one.moved / 4e9
    assert many.seconds == many.operations / 1e10
    assert floor_of(MACHINE, MODEL, PassSize(2, 1, 10), "int8") is None


def test_bandwidth_is_that_of_the_next_smaller_buffer() -> None:
    assert MACHINE.bandwidth(10) == 4e9
    assert MACHINE.bandwidth(999_999) == 4e9
    assert MACHINE.bandwidth(10**7) == 1e9


def test_what_is_measured_is_positive() -> None:
    machine = measure_cpu(MIB, 1, cpu_rates(1))
    assert machine.threads == 1
    assert min(machine.bandwidths) == MIB
    assert max(machine.bandwidths) >= 256 * MIB
    assert all(rate > 1e8 for rate in machine.bandwidths.values())
    assert machine.rates["fp32"] > 1e8
    assert all(isinstance(size, str) for size in machine.to_json()["bandwidths"])


def test_the_shortest_try_counts() -> None:
    calls: list[int] = []
    assert best_seconds(lambda: calls.append(1), budget=0.001, least=3) >= 0
    assert len(calls) >= 4


def test_passes_of_a_toy(toy_models: Models, tmp_path_factory: pytest.TempPathFactory) -> None:
    bundle = bundle_in_memory(toy_models, tmp_path_factory.mktemp("toy"), 2, 8)
    entry = bundle.manifest.target
    assert model_size(entry).hidden == toy_models.target.config.hidden
    rows = list(pass_rows(TorchBackend(toy_models, 2), entry, MACHINE, "fp32", budget=0.0, most=3))
    fed = [row.size.fed for row in rows]
    assert fed == [1, 1, 1, 4, 16, 32]
    assert [row.size for row in rows] == pass_sizes(entry, 2)
    assert all(row.seconds > 0 and row.count == 3 for row in rows)
    assert all([floor.precision for floor in row.others] == ["bf16"] for row in rows)
    assert rows[0].to_json()["ratio"] == pytest.approx(rows[0].seconds / rows[0].floor.seconds)


def test_inputs_of_a_pass_stand_after_the_filled_slots(
    toy_models: Models, tmp_path_factory: pytest.TempPathFactory
) -> None:
    entry = bundle_in_memory(toy_models, tmp_path_factory.mktemp("toy"), 2, 8).manifest.target
    inputs: Tensors = pass_inputs(entry, PassSize(2, 4, 20))
    assert inputs["positions"].tolist() == [[16, 17, 18, 19]] * 2
    assert inputs["write_index"].tolist() == [16, 16]
    ranks = inputs["slot_ranks"][0]
    assert ranks[:20].tolist() == list(range(20))
    assert (ranks[20:] == DEAD_RANK).all()
    assert all(np.asarray(value).dtype in (np.int64, np.float32) for value in inputs.values())
