"""Which shapes a bundle's loop asks for follows from its manifest, and the report tells those met from the others."""

from pathlib import Path

import pytest

from mulo_sd.conformance.engines.report_of_shapes import ShapesMet, shapes_page, summaries
from mulo_sd.conformance.engines.shapes import ALL, FEW, MANY, Level, Shape, due_shapes, lengths, pass_shape
from mulo_sd.conformance.targets import open_target, preset_target
from mulo_sd.engines.bundle.manifest import Manifest


@pytest.fixture(scope="module")
def bundle() -> Path:
    return open_target(preset_target("minimal-oblong", "fp32")).pipeline.bundle.path


@pytest.fixture(scope="module")
def manifest(bundle: Path) -> Manifest:
    return open_target(preset_target("minimal-oblong", "fp32")).pipeline.bundle.manifest


def test_lengths() -> None:
    """From one to the most, with what kernels and plans make a difference at."""
    assert lengths(20) == [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 19, 20]
    assert lengths(1) == [1]
    assert 100 in lengths(200, also=(100, 300))
    for most in (1, 2, 48, 384, 4096):
        few, many, every = (set(lengths(most, level)) for level in Level)
        assert {1, most} <= few <= many <= every


def test_due_shapes(manifest: Manifest) -> None:
    """Each graph has its shapes, in both batches, and each level takes some of the next one's."""
    few, many, every = (set(due_shapes(manifest, level=level)) for level in (FEW, MANY, ALL))
    assert few <= many <= every
    beside = {
        "target_branched",
        "head",
        "block",
        "block_condition",
    }  # of methods: passes that tests of branches compare
    assert {shape.graph for shape in few} == set(manifest.graphs) - beside
    assert {pass_shape("target", 1, 48), pass_shape("target", 2, 33), pass_shape("drafter_1", 2, 12)} <= few
    assert Shape("target", "cache filled to", "64") in every
    assert Shape("decoder", "grids", "4 x 12") in few
    assert not [shape for shape in due_shapes(manifest, max_shared=0) if shape.kind == "shared passes"]


def test_edges_of_profiles(manifest: Manifest) -> None:
    """Where a plan's profiles end, the shapes beside are asked for."""
    target = manifest.graphs["target"]
    plan = {
        "backend": "trt",
        "file": target.onnx,
        "build_seconds": 0.0,
        "version": "0",
        "profiles": ({"fed": (1, 8, 22)}, {"fed": (1, 24, 48)}),
    }
    planned = target.model_validate(target.model_dump() | {"plans": [plan]})
    changed = manifest.model_copy(update={"graphs": dict(manifest.graphs) | {"target": planned}})
    new = set(due_shapes(changed, level=FEW)) - set(due_shapes(manifest, level=FEW))
    assert {pass_shape("target", 2, fed) for fed in (21, 22, 23)} <= new


def test_report(bundle: Path) -> None:
    """What was met is told from what never was; a bundle that is not there has no part."""
    shapes = ShapesMet()
    shapes.add("ours", [["decoder", "grids", "4 x 12"], ["target", "passes", "2 x 33"]], 4)
    told = shapes.of("ours", bundle)
    assert told["decoder"]["grids"] == {"met": ["4 x 12"], "never": []}
    assert told["target"]["passes"]["met"] == ["2 x 33"]
    assert "1 x 33" in told["target"]["passes"]["never"]
    assert not [value for value in told["target"]["shared passes"]["never"] if value.endswith("x 5")]
    assert shapes.of("ours", bundle / "nowhere") == {}
    content = {"ours": told, "nobody's": {}, "theirs": ShapesMet().of("theirs", bundle)}
    ours, others = summaries(content)
    assert ours.startswith("ours: 2 of ")
    assert others == "no shape held against the reference: theirs"
    page = "\n".join(shapes_page(content))
    assert "| decoder | grids | 1 of 1 |  |" in page
    assert "| target | passes | 1 of " in page
