"""What a manifest says of a plan's GPUs is what its builder was told, or what its default is."""

import functools
import operator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest

from mulo_sd.engines.backends.host import Host, platform_name
from mulo_sd.engines.backends.nvidia_driver import Gpu
from mulo_sd.engines.bundle.contract import PlanBackend
from mulo_sd.engines.bundle.entries import PlanCompatibility
from mulo_sd.export.plan_targets import PlanError, compatibility_of, set_targets
from mulo_sd.export.plans import build_plan, check_can_build, is_installed

with_rtx = pytest.mark.skipif(not is_installed("trt-rtx"), reason="tensorrt-rtx is published for two platforms only")
GRAPH = '<ir_version: 10, opset_import: ["" : 24]> g (float[4, 4] x) => (float[4, 4] y) { y = Exp(x) }'
DEFAULT = ("8.0", "8.6", "8.9", "12.0", "12.1")
# Where TensorRT for RTX 1.7 notes, in the header that `get_engine_validity` reads, for which GPUs it built: a bit each.
TARGETS = slice(32, 36)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "graph.onnx"
    onnx.save(onnx.parser.parse_model(GRAPH), path)
    return path


def built(graph: Path, *targets: str) -> tuple[PlanCompatibility, int]:
    """Return what the manifest would say of a plan, and the bits of the plan's own header."""
    plan = build_plan("trt-rtx", graph, {"x": (4, 4)}, ({},), False, targets)
    assert plan.compatibility is not None
    return plan.compatibility, int.from_bytes(plan.content[TARGETS], "little")


@with_rtx
def test_the_default_is_what_the_manifest_says(graph: Path) -> None:
    """The plan's header has the bits of all that are listed, one more for GPUs that come later, and not Turing's."""
    told, bits = built(graph)
    assert (told.product, told.compute_capabilities, told.or_later) == ("tensorrt-rtx", DEFAULT, True)
    assert {"linux-x86_64", "windows-x86_64", platform_name()} == {*told.platforms}
    listed = [built(graph, target)[1] for target in DEFAULT]
    assert all(one.bit_count() == 1 for one in listed)
    assert (bits ^ functools.reduce(operator.or_, listed)).bit_count() == 1
    assert bits & built(graph, "7.5")[1] == 0


@with_rtx
def test_what_the_builder_is_told(graph: Path) -> None:
    told, bits = built(graph, "7.5", "8.9")
    assert (told.compute_capabilities, told.or_later) == (("7.5", "8.9"), False)
    assert bits == built(graph, "7.5")[1] | built(graph, "8.9")[1]


@with_rtx
def test_gpus_that_it_does_not_build_for(graph: Path) -> None:
    line = r"^compute capability: expected one of 7\.5, 8\.0, .*, 12\.1, got '9\.0'$"
    with pytest.raises(PlanError, match=line):
        check_can_build(["trt-rtx"], ["8.9", "9.0"])
    with pytest.raises(PlanError, match=line):
        built(graph, "9.0")


def test_gpus_without_plans_for_them() -> None:
    others: list[PlanBackend] = ["trt"]
    with pytest.raises(PlanError, match=r"^compute capability: expected plans of backend trt-rtx beside it, .*: trt$"):
        check_can_build(others, ["8.9"])
    check_can_build(others, [])


def test_a_builder_that_takes_no_target() -> None:
    """It says so by a return value alone, and would build for other GPUs."""
    trt: Any = SimpleNamespace(ComputeCapability=SimpleNamespace(__members__={"NONE": 0, "SM89": 89}))
    config = SimpleNamespace(num_compute_capabilities=0, set_compute_capability=lambda value, index: False)
    with pytest.raises(PlanError, match=r"^compute capability: TensorRT for RTX does not take 8\.9; choose another$"):
        set_targets(trt, config, ["8.9"])


NO_MODULE: Any = None  # of TensorRT nothing is looked up
HERE = Host(platform_name(), {}, (Gpu("NVIDIA L4", "8.9"), Gpu("NVIDIA T4", "7.5")), "580.1")


@pytest.mark.parametrize("level", ["NONE", "SAME_COMPUTE_CAPABILITY"])
def test_tensorrt_builds_for_the_gpu_that_it_finds(level: str) -> None:
    config = SimpleNamespace(hardware_compatibility_level=SimpleNamespace(name=level))
    told = compatibility_of(NO_MODULE, "trt", config, (), HERE)
    assert told is not None
    assert (told.product, told.platforms, told.or_later) == ("tensorrt", (platform_name(),), False)
    assert (told.compute_capabilities, told.hardware_compatibility) == (("8.9",), level.lower())
    assert (told.built_on.gpu, told.built_on.driver) == ("NVIDIA L4", "580.1")
    assert told.built_on.os


def test_tensorrt_on_a_gpu_that_nobody_tells() -> None:
    without = Host(platform_name(), {}, ())
    assert compatibility_of(NO_MODULE, "trt", SimpleNamespace(), (), without) is None
