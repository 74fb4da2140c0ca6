"""What a backend from outside answers wrongly ends in one line that names the graph, at the first such answer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mulo_sd.engines.backends.base import BackendError, KVCache, Tensors, Traits
from mulo_sd.engines.condition import Condition
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.reference.models import Models
from tests.engines.service.toy_session import CODES, FIELDS
from tests.fakes.torch_backend import TorchBackend, bundle_in_memory

Change = Callable[[Any], Any]


class _Changed(TorchBackend):
    """Changes what one graph answers; of a transformer's, its logits."""

    name = "changed"

    def __init__(self, models: Models, graph: str, change: Change) -> None:
        super().__init__(models, FIELDS)
        self.graph, self.change = graph, change

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        outputs = super().run(graph, inputs)
        mine = self.graph not in self.models and graph.startswith(self.graph)
        return self.change(outputs) if mine else outputs

    def feed(self, graph: str, cache: KVCache, inputs: Tensors) -> NDArray[np.float32]:
        logits = super().feed(graph, cache, inputs)
        return self.change(logits) if graph == self.graph else logits


class _Scoring(_Changed):
    """Returns scores of its own."""

    traits = Traits(scores=True)

    def score(self, graph: str, cache: KVCache, inputs: Tensors) -> Any:
        return self.change(super().feed(graph, cache, inputs))


def output(name: str, change: Change) -> Change:
    """Return what changes one output of a graph."""
    return lambda outputs: outputs | {name: change(outputs[name])}


def without(name: str) -> Change:
    """Return what leaves one output of a graph out."""
    return lambda outputs: {other: value for other, value in outputs.items() if other != name}


LOGITS = f"logits: expected an array of float32 [2, 4, {CODES}], got "


@pytest.mark.parametrize(
    ("graph", "change", "said"),
    [
        ("target", lambda logits: logits.astype(np.float64), LOGITS + f"float64 [2, 4, {CODES}]"),
        ("target", lambda logits: logits.astype(np.float16), LOGITS + f"float16 [2, 4, {CODES}]"),
        ("target", lambda logits: logits[..., :-1], LOGITS + f"float32 [2, 4, {CODES - 1}]"),
        ("target", lambda logits: logits[:, -1], LOGITS + f"float32 [2, {CODES}]"),
        ("target", lambda logits: logits[:1], LOGITS + f"float32 [1, 4, {CODES}]"),
        ("target", lambda logits: logits.tolist(), LOGITS + "list"),
        ("target", lambda logits: torch.from_numpy(logits), LOGITS + "Tensor"),
        ("target", lambda logits: None, LOGITS + "none"),
        (
            "drafter_1",
            lambda logits: logits[..., :3],
            f"logits: expected an array of float32 [2, 4, {CODES}], got float32 [2, 4, 3]",
        ),
        ("sampler", lambda outputs: tuple(outputs.values()), "expected a dict of outputs, got tuple"),
        ("sampler", without("tokens"), "tokens: expected an array of int64 [1], got none"),
        ("sampler", output("tokens", lambda value: value.astype(np.int32)), "tokens: expected an array of int64 [1]"),
        ("sampler", output("tokens", lambda value: value + CODES), "tokens: expected codes in 0..31, got "),
        ("sampler", output("tokens", lambda value: value - CODES - 1), "tokens: expected codes in 0..31, got -"),
        (
            "sampler",
            output("log_probs", lambda value: value[:, :-1]),
            "log_probs: expected an array of float32 [1, 32",
        ),
        ("acceptance", without("entropies"), "entropies: expected an array of float32 [1], got none"),
        (
            "acceptance",
            output("pooled_probs", lambda value: value[:, None]),
            "pooled_probs: expected an array of",
        ),
        ("target_condition", without("prefix"), "prefix: expected an array of float32 [2, 4, 24], got none"),
        (
            "up_sampler",
            output("high_tokens", lambda value: value[:-1]),
            "high_tokens: expected an array of int64",
        ),
        ("up_sampler", output("high_tokens", lambda value: value * 0 - 1), "expected codes in 0..31, got -1..-1"),
        (
            "down_sampler",
            output("low_tokens", lambda value: value.T[:, :0]),
            "low_tokens: expected an array of int64",
        ),
        ("decoder", output("image", lambda value: value[None]), "image: expected an array of float32 [8, 8, 3], got"),
        ("decoder", output("image", lambda value: value.astype(np.uint8)), "got uint8 [8, 8, 3]"),
    ],
)
def test_wrong_answers(
    models: Models, condition: Condition, tmp_path: Path, graph: str, change: Change, said: str
) -> None:
    pipeline = Pipeline(bundle_in_memory(models, tmp_path, FIELDS, CODES, "tar"), _Changed(models, graph, change))
    with pytest.raises(BackendError) as caught:
        pipeline.draw(condition, 1, "serial", guidance_scale=2.0, draft_rows=1, look_ahead=0)
    assert str(caught.value).startswith(f"backend changed: graph {graph}")
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("answer", [None, np.zeros(3)])
def test_scores_that_are_none(models: Models, condition: Condition, tmp_path: Path, answer: object) -> None:
    backend = _Scoring(models, "target", lambda logits: answer)
    pipeline = Pipeline(bundle_in_memory(models, tmp_path, FIELDS, CODES, "tar"), backend)
    expected = f"backend changed: graph target: expected engines.Scores, got {type(answer).__name__}"
    with pytest.raises(BackendError) as caught:
        pipeline.draw(condition, 1, "ar")
    assert str(caught.value) == expected
