"""Passes with branches and hidden states: what ONNX Runtime computes comes back from TensorRT's buffers."""

import numpy as np
import pytest

from mulo_sd.engines.backends.ort.cpu import OnnxRuntimeBackend
from mulo_sd.engines.backends.tensorrt.backend import TensorRTBackend
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.passes.head import HeadSession
from mulo_sd.engines.passes.transformer import TransformerSession
from mulo_sd.engines.rules.branches import Tree
from tests.engines.backends.tensorrt.minimal_decodes import with_plans
from tests.fakes.tensorrt import Fakes

PREFIX = np.random.default_rng(4).integers(0, 7, (2, 12, 5))


def test_trees_and_hidden_states(large_fakes: Fakes, minimal: Bundle) -> None:
    planned = with_plans(minimal, "trt-rtx")
    backends = (TensorRTBackend(planned, "trt-rtx"), OnnxRuntimeBackend(minimal, 1))
    branched, head = planned.manifest.branched, planned.manifest.head
    assert branched is not None
    assert head is not None
    ours, theirs = (TransformerSession(backend, branched, PREFIX) for backend in backends)
    our_head, their_head = (HeadSession(backend, head, 2) for backend in backends)
    first, expected = ours.prefill(), theirs.prefill()
    np.testing.assert_array_equal(ours.hidden_of(first), theirs.hidden_of(expected))
    last = first.last()
    cells, parents = np.array([1, 1, 2, 2, 3]), np.array([-1, -1, 0, 0, 2])
    tree, token = Tree(cells, np.arange(5), parents), np.zeros(1, dtype=np.int64)
    got, want = (session.feed(token, token, tree=tree) for session in (ours, theirs))
    np.testing.assert_array_equal(got.logits(), want.logits())
    np.testing.assert_array_equal(ours.hidden_of(got), theirs.hidden_of(want))
    np.testing.assert_array_equal(last.hidden(), expected.hidden()[:, -1:])
    positions = np.arange(1, 14)
    features = np.random.default_rng(5).standard_normal((2, 13, head.dim), dtype=np.float32)
    got, want = (session.feed(positions, positions, features) for session in (our_head, their_head))
    np.testing.assert_array_equal(our_head.hidden_of(got), their_head.hidden_of(want))


def test_no_hidden_states(large_fakes: Fakes, minimal: Bundle) -> None:
    """A pass of the target itself brings none to the host."""
    planned = with_plans(minimal, "trt-rtx")
    scores = TransformerSession(TensorRTBackend(planned, "trt-rtx"), planned.manifest.target, PREFIX).prefill()
    with pytest.raises(NotImplementedError, match="hidden"):
        scores.hidden()
