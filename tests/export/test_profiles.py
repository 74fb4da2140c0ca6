"""Plans with several profiles: what a decode's passes look like, and that TensorRT for RTX builds for all of it."""

from pathlib import Path

import onnx
import onnx_ir
import pytest
import torch

from mulo_sd.engines.bundle.entries import FileEntry, PlanEntry
from mulo_sd.engines.prompts.prefix import FIELDS
from mulo_sd.export.graphs.listing import specifications
from mulo_sd.export.graphs.sampling import MAX_RANKED, _row_profiles
from mulo_sd.export.graphs.specification import GraphSpecification, Range
from mulo_sd.export.manifest import tensor_entries
from mulo_sd.export.onnx_from_torch import onnx_from_torch
from mulo_sd.export.plans import build_plan, is_installed
from mulo_sd.reference import minimal
from mulo_sd.reference.models import Models


def specification_of(models: Models, name: str) -> GraphSpecification:
    return next(item for item in specifications(models, torch.float32, FIELDS) if item.name == name)


@pytest.mark.parametrize("name", ["target", "drafter_1", "sampler", "acceptance"])
def test_profiles_are_ranges(name: str, toy_models: Models) -> None:
    """Each names the graph's own dimensions, in order of size; the last one for a single decode holds them all."""
    item = specification_of(toy_models, name)
    assert item.profiles
    for profile in item.profiles:
        assert profile.keys() == item.ranges.keys()
        for smallest, usual, largest in profile.values():
            assert 1 <= smallest <= usual <= largest
    whole = item.profiles[2]
    for dimension, (smallest, _, largest) in item.ranges.items():
        assert (whole[dimension][0], whole[dimension][-1]) == (smallest, largest)


def test_a_searched_threshold_has_one_usual_row() -> None:
    """Of hundreds, TensorRT for RTX looks for minutes for kernels."""
    ranges: dict[str, Range] = {"rows": (1, 1, 1024)}
    assert _row_profiles(ranges, MAX_RANKED + 1) == ()
    assert len(_row_profiles(ranges, MAX_RANKED)) == 3


def test_older_manifests_have_no_profiles() -> None:
    file = FileEntry(path="a.plan", sha256="0" * 64, size_bytes=0)
    assert PlanEntry(backend="trt-rtx", file=file, build_seconds=0, version="1").profiles == ()


@pytest.mark.skipif(not is_installed("trt-rtx"), reason="tensorrt-rtx is published for two platforms only")
@pytest.mark.parametrize("name", ["drafter_2", "sampler"])
def test_plans_build(name: str, tmp_path: Path) -> None:
    """A plan for every profile is larger than one for a single one: it has kernels for each."""
    item = specification_of(minimal.load(), name)
    model = onnx_from_torch(item)
    path = tmp_path / "graph.onnx"
    onnx_ir.save(model, path)
    shapes = {entry.name: entry.shape for entry in tensor_entries(onnx.load_model(path).graph.input)}
    single = build_plan("trt-rtx", path, shapes, (item.ranges,), True)
    several = build_plan("trt-rtx", path, shapes, item.profiles, True)
    assert len(several.content) > len(single.content)
