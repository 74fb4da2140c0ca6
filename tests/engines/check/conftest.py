"""A bundle with plans of TensorRT for RTX, and what puts another machine in the place of this one."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from mulo_sd.engines.backends.host import Host
from mulo_sd.export.plans import build_plan
from tests.engines.check.doctored import GRAPH, RTX, change_manifest, replace_file


@pytest.fixture(scope="module")
def with_plans(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose plans are TensorRT for RTX's own, though all of one graph that is none of the bundle's."""
    folder = Path(shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("checked") / "it's here"))
    onnx.save(onnx.parser.parse_model(GRAPH), folder.parent / "graph.onnx")
    plan = build_plan("trt-rtx", folder.parent / "graph.onnx", {"x": (4, 4)}, ({},), False)

    def change(manifest: dict[str, Any]) -> None:
        manifest["name"] = "mulo-sd minimal"
        for graph in manifest["graphs"].values():
            replace_file(folder, graph["plans"][0]["file"], plan.content)
            graph["plans"][0] |= {"version": plan.version, "compatibility": RTX}

    change_manifest(folder, change)
    return folder


@pytest.fixture
def bundle(with_plans: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(with_plans, tmp_path / "it's here"))


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[Host], None]:
    """What puts a machine in the place of this one."""
    return lambda host: monkeypatch.setattr(Host, "of_this_machine", lambda: host)
