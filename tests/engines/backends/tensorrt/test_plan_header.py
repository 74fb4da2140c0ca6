"""What TensorRT for RTX says of a header: its own module where it is installed, and every reason that it may give."""

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest

from mulo_sd.engines.backends.host import Host
from mulo_sd.engines.backends.nvidia_driver import Gpu, gpus
from mulo_sd.engines.backends.readiness import judge_backend
from mulo_sd.engines.backends.tensorrt.plan_header import REASONS, HeaderCheck
from mulo_sd.engines.backends.verdicts import Outcome, Verdict
from mulo_sd.engines.bundle import Bundle
from mulo_sd.export.plans import build_plan

# As in TensorRT for RTX 1.7; compared with the installed one below.
BITS = {
    "VERSION_MISMATCH": 1,
    "UNSUPPORTED_CC": 2,
    "OLD_CUDA_DRIVER": 4,
    "OLD_CUDA_RUNTIME": 8,
    "INSUFFICIENT_GPU_MEMORY": 16,
    "MALFORMED_ENGINE": 32,
    "CUDA_ERROR": 64,
}
VALID, SUBOPTIMAL, INVALID = 0, 1, 2
GRAPH = '<ir_version: 10, opset_import: ["" : 24]> g (float[4, 4] x) => (float[4, 4] y) { y = Exp(x) }'


def answering(monkeypatch: pytest.MonkeyPatch, answer: object) -> list[bytes]:
    """Put a module in TensorRT's place that answers one thing; return the list of headers that it is asked of."""
    asked: list[bytes] = []

    class Runtime:
        engine_header_size = 16

        def __init__(self, logger: Any) -> None:
            logger.log(0, "said to nobody")

        def get_engine_validity(self, header: bytes) -> object:
            asked.append(header)
            if isinstance(answer, Exception):
                raise answer
            return answer

    module = SimpleNamespace(
        Runtime=Runtime,
        ILogger=type("ILogger", (), {}),
        EngineValidity=SimpleNamespace(VALID=VALID, SUBOPTIMAL=SUBOPTIMAL, INVALID=INVALID),
        EngineInvalidityDiagnostics=SimpleNamespace(**BITS),
    )
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", module)
    return asked


def verdict_of(bundle: Bundle) -> Verdict | None:
    return HeaderCheck()(bundle, bundle.manifest.graphs["target"].plans[0])


def test_reasons_are_those_of_the_installed_module() -> None:
    trt = pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    members = trt.EngineInvalidityDiagnostics.__members__
    assert {name: int(value) for name, value in members.items()} == BITS
    assert {name for name, _, _ in REASONS} == BITS.keys()
    assert int(trt.EngineValidity.INVALID) == INVALID


def test_the_installed_module_without_a_driver(bundle: Bundle, tmp_path: Path) -> None:
    """It knows what is no plan; a plan's header it calls invalid and gives no reason, which is no answer."""
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    if gpus():
        pytest.skip("an NVIDIA GPU is at hand")
    no_plan = verdict_of(bundle)  # an ONNX file
    assert no_plan is not None
    assert no_plan.reason == "TensorRT for RTX says that it is not what it takes for a plan"
    graph = tmp_path / "graph.onnx"
    onnx.save(onnx.parser.parse_model(GRAPH), graph)
    other = dataclasses.replace(bundle, path=tmp_path)
    path = other.file(bundle.manifest.graphs["target"].plans[0].file)
    path.parent.mkdir(parents=True)
    path.write_bytes(build_plan("trt-rtx", graph, {"x": (4, 4)}, ({},), False).content)
    assert verdict_of(other) is None


@pytest.mark.parametrize("answer", [(VALID, 0), (SUBOPTIMAL, 0), (INVALID, 0)])
def test_no_objection(monkeypatch: pytest.MonkeyPatch, bundle: Bundle, answer: object) -> None:
    """It reads the header alone."""
    asked = answering(monkeypatch, answer)
    assert verdict_of(bundle) is None
    assert [len(header) for header in asked] == [16]


@pytest.mark.parametrize(
    ("bits", "outcome", "said"),
    [
        (1, Outcome.REBUILD, "was built with another version of it"),
        (2, Outcome.UNKNOWN, "was not built for a GPU of this compute capability"),
        (4, Outcome.CANNOT, "needs a newer NVIDIA driver"),
        (8, Outcome.CANNOT, "needs a newer CUDA runtime"),
        (16, Outcome.CANNOT, "has weights that do not fit into the GPU's memory"),
        (32, Outcome.REBUILD, "is not what it takes for a plan"),
        (64, Outcome.CANNOT, "cannot be judged: CUDA or its driver is not installed as it should be"),
        (1 | 2 | 4, Outcome.REBUILD, "was built with another version of it"),
    ],
)
def test_objections(monkeypatch: pytest.MonkeyPatch, bundle: Bundle, bits: int, outcome: Outcome, said: str) -> None:
    answering(monkeypatch, (INVALID, bits))
    verdict = verdict_of(bundle)
    assert verdict is not None
    assert (verdict.outcome, verdict.reason) == (outcome, f"TensorRT for RTX says that it {said}")
    assert verdict.build_options == (("--backend", "trt-rtx") if outcome is Outcome.REBUILD else ())


def test_a_module_that_fails(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    answering(monkeypatch, RuntimeError("too short\nand more"))
    verdict = verdict_of(bundle)
    assert verdict == Verdict(Outcome.UNKNOWN, "TensorRT for RTX does not read its header: too short")


def test_plans_of_tensorrt_are_not_asked_of(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    asked = answering(monkeypatch, (INVALID, 1))
    plan = bundle.manifest.graphs["target"].plans[0].model_copy(update={"backend": "trt"})
    assert HeaderCheck()(bundle, plan) is None
    assert asked == []


def test_it_is_asked_of_plans_that_may_run(monkeypatch: pytest.MonkeyPatch, bundle: Bundle) -> None:
    """And its objection is the plan's verdict; what the fields refuse it is not asked of."""
    asked = answering(monkeypatch, (INVALID, 1))
    host = Host("linux-x86_64", {"tensorrt_rtx": "0", "cuda.bindings": "13"}, (Gpu("NVIDIA L4", "8.9"),))
    judged = judge_backend("trt-rtx", bundle, host, HeaderCheck())
    assert judged.verdict.reason == "TensorRT for RTX says that it was built with another version of it"
    assert len(asked) == len(bundle.manifest.graphs)
    other = dataclasses.replace(host, packages={"tensorrt_rtx": "1", "cuda.bindings": "13"})
    assert judge_backend("trt-rtx", bundle, other, HeaderCheck()).verdict.reason.startswith("it was built with")
    assert len(asked) == len(bundle.manifest.graphs)
