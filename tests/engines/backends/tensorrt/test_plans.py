"""Plans that are damaged or not the manifest's, and inputs that are not the plan's."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mulo_sd.engines.backends import BackendError
from mulo_sd.engines.backends.tensorrt.backend import TensorRTBackend
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.passes.transformer import TransformerSession
from tests.engines.backends.tensorrt.minimal_decodes import with_plans
from tests.engines.backends.tensorrt.tiny_passes import prefix_ids, sampler_inputs
from tests.fakes.cuda import FakeCuda
from tests.fakes.tensorrt import FakeEngine, Fakes


def test_damaged_plan(fakes: Fakes, bundle: Bundle) -> None:
    """TensorRT's own last error is told, its first line only."""
    backend = TensorRTBackend(bundle, "trt-rtx")
    damaged = backend.entries["sampler"].model_copy(update={"file": bundle.manifest.neighbours})
    backend.entries["sampler"] = damaged
    with pytest.raises(BackendError, match=r"neighbours.npy: the plan, built with 0, .* header is damaged$"):
        backend.run("sampler", sampler_inputs(1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda engine: engine.aliases.clear(), "new_key_0: expected key_0 updated in place"),
        (lambda engine: engine.NAMES.update({"tensor(float)": "HALF"}), "prefix: expected INPUT float32, got HALF"),
        (lambda engine: engine.outputs.pop("logits"), "not the manifest's: logits"),
    ],
)
def test_plan_that_is_not_what_the_manifest_says(
    fakes: Fakes, bundle: Bundle, change: Callable[[FakeEngine], object], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeEngine, "NAMES", dict(FakeEngine.NAMES))

    class Changed(FakeEngine):
        def __init__(self, cuda: FakeCuda, content: bytes) -> None:
            super().__init__(cuda, content)
            change(self)
            self.names = [*self.outputs, *self.inputs]
            self.num_io_tensors = len(self.names)

    monkeypatch.setattr("tests.fakes.tensorrt.FakeEngine", Changed)
    session = TransformerSession(TensorRTBackend(bundle, "trt-rtx"), bundle.manifest.target, prefix_ids(1))
    with pytest.raises(BackendError, match=rf"target.*\.plan: .*{said}"):
        session.feed(np.array([0]), np.array([0]))


def test_a_plan_with_other_profiles(fakes: Fakes, minimal: Bundle) -> None:
    with pytest.raises(BackendError, match=r"expected the manifest's 5 profiles, got 1$"):
        TensorRTBackend(with_plans(minimal, "trt-rtx"), "trt-rtx").run("decoder", {})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"logits": np.zeros((1, 12))}, r"logits: expected float32 \['rows', 12\], got float64 \[1, 12\]"),
        ({"shift": np.zeros(1, dtype=np.int64)}, r"shift: expected int64 \[\], got int64 \[1\]"),
        ({"logits": np.zeros((65, 12), dtype=np.float32)}, r"not built for shape \(65, 12\)"),
    ],
)
def test_wrong_inputs(fakes: Fakes, bundle: Bundle, changes: dict[str, NDArray[Any]], said: str) -> None:
    backend = TensorRTBackend(bundle, "trt-rtx")
    with pytest.raises(BackendError, match=said):
        backend.run("sampler", sampler_inputs(1) | changes)


def test_missing_input(fakes: Fakes, bundle: Bundle) -> None:
    with pytest.raises(BackendError, match=r"logits: expected .*, got nothing"):
        TensorRTBackend(bundle, "trt-rtx").run("sampler", {})
