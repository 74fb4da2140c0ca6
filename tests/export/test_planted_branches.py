"""Graphs with branches that are wrong are refused by a build, and the reference's own are not."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor, nn

from mulo_sd.engines.bundle.contract import Precision
from mulo_sd.export.build_bundle import neighbour_table
from mulo_sd.export.build_graph import cast_copy
from mulo_sd.export.compare import Comparison, check_error
from mulo_sd.export.comparison import ToleranceError
from mulo_sd.export.demo_evidence import demo_evidence
from mulo_sd.export.evidence import Evidence
from mulo_sd.export.graphs import branched
from mulo_sd.export.graphs.listing import specifications
from mulo_sd.export.graphs.specification import GraphSpecification
from mulo_sd.export.precision import TORCH_DTYPES
from mulo_sd.reference import minimal

Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    models = minimal.load()
    return demo_evidence(models, neighbour_table(models))


def graph(evidence: Evidence, name: str, precision: Precision = "fp32") -> GraphSpecification:
    dtype = TORCH_DTYPES[precision]
    item = next(item for item in specifications(evidence.models, dtype, 5) if item.name == name)
    return replace(item, module=cast_copy(item.module, dtype))


def refused(evidence: Evidence, item: GraphSpecification, change: Change = lambda inputs: inputs) -> bool:
    """Whether a build refuses a graph that is given other inputs than it should be."""

    def run(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        return item.run(change(dict(inputs)))

    try:
        check_error(item, Comparison(item, evidence, "fp32").error(run), "fp32")
    except ToleranceError as error:
        assert str(error).startswith(f"graph {item.name}, output ")  # noqa: PT017  # what is wrong is named
        return True
    return False


@pytest.mark.parametrize("name", ["target_branched", "head", "block"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_right_graphs(evidence: Evidence, name: str, precision: Precision) -> None:
    """In the arithmetic of every precision."""
    item = graph(evidence, name, precision)
    error = Comparison(item, evidence, precision).own_error()
    check_error(item, error, precision)
    assert error > 0


def all_see(slot_branches: Tensor, branches: Tensor) -> Tensor:
    """Siblings see each other."""
    return torch.ones(len(branches), 1, branches.shape[1], slot_branches.shape[1], dtype=torch.bool)


def any_bit(slot_branches: Tensor, branches: Tensor) -> Tensor:
    """Whoever asks for no bit sees nothing that has none in common with it."""
    return (slot_branches[:, None, None, :] & branches[:, None, :, None]) != 0


def same_bits(slot_branches: Tensor, branches: Tensor) -> Tensor:
    """A node sees itself, and none of its ancestors that has other descendants."""
    asked, bits = branches[:, None, :, None], slot_branches[:, None, None, :]
    return (asked == 0) | (bits == asked) | (bits == -1)


@pytest.mark.parametrize("rule", [all_see, any_bit, same_bits])
@pytest.mark.parametrize("name", ["target_branched", "head"])
def test_wrong_rules(evidence: Evidence, name: str, rule: Callable[[Tensor, Tensor], Tensor]) -> None:
    item = graph(evidence, name)
    assert not refused(evidence, item)
    with patch.object(branched, "on_branch", rule):
        assert refused(evidence, item)


def without_sign(name: str, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Bits above 31 are lost, as in a runtime that counts in int32."""
    return inputs | {name: inputs[name] & 0x7FFFFFFF}


def rows_swapped(name: str, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The unconditional row is given the conditional one's."""
    return inputs | {name: inputs[name].flip(0)}


def last_alone(name: str, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every token of a pass is given the last one's."""
    return inputs | {name: inputs[name][:, -1:].expand_as(inputs[name])}


@pytest.mark.parametrize(
    ("graph_name", "wrong", "name"),
    [
        ("target_branched", without_sign, "branches"),
        ("target_branched", last_alone, "branches"),
        ("head", last_alone, "branches"),
        ("head", last_alone, "features"),
        ("head", rows_swapped, "features"),
        ("head", last_alone, "tokens"),
        ("block", last_alone, "tokens"),
    ],
)
def test_wrong_inputs(
    evidence: Evidence, graph_name: str, wrong: Callable[[str, dict[str, Tensor]], dict[str, Tensor]], name: str
) -> None:
    assert refused(evidence, graph(evidence, graph_name), partial(wrong, name))


@pytest.mark.parametrize("name", ["target_branched", "head"])
def test_hidden_states_of_another_place(evidence: Evidence, name: str) -> None:
    """What the last norm is given, or what the head is: close to what is asked for, and another thing."""
    item = graph(evidence, name)

    class Wrong(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.right = item.module

        def forward(self, **inputs: Any) -> tuple[Tensor, ...]:
            logits, hidden, *caches = self.right(**inputs)
            return (logits, hidden * 1.01, *caches)

    assert refused(evidence, replace(item, module=Wrong()))
