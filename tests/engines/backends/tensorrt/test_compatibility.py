"""Plans that are sure not to run are refused before one is deserialised, with the line of the command that checks."""

import dataclasses
from typing import Any

import pytest

from mulo_sd.engines.backends import BackendError
from mulo_sd.engines.backends.host import platform_name
from mulo_sd.engines.backends.readiness import judge_backend, told
from mulo_sd.engines.backends.tensorrt.backend import TensorRTBackend
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.bundle.entries import PlanCompatibility
from tests.fakes.tensorrt import Fakes

HERE: dict[str, Any] = {
    "product": "tensorrt-rtx",
    "platforms": [platform_name()],
    "compute_capabilities": ["8.9"],
    "built_on": {"os": "Linux 6.1"},
}


def doctored(bundle: Bundle, version: str = "0", **changes: object) -> Bundle:
    """Return a bundle whose target's plan is another, by its manifest."""
    graphs = dict(bundle.manifest.graphs)
    for name, entry in graphs.items():
        if entry.plans:
            told = HERE if name != "target" else HERE | changes
            update: dict[str, object] = {"compatibility": PlanCompatibility.model_validate(told)}
            update |= {"version": version} if name == "target" else {}
            graphs[name] = entry.model_copy(update={"plans": (entry.plans[0].model_copy(update=update),)})
    return dataclasses.replace(bundle, manifest=bundle.manifest.model_copy(update={"graphs": graphs}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"version": "9.9"},
            "it was built with TensorRT for RTX 9.9, and 0 reads plans of its own version alone; build",
        ),
        (
            {"product": "tensorrt"},
            "it is a plan of TensorRT, which TensorRT for RTX does not read; build it again with",
        ),
        (
            {"platforms": ["plan-9"]},
            f"it was built for plan-9, and this is {platform_name()}; build it again with `mulo-",
        ),
        (
            {"compute_capabilities": ["7.5"]},
            "it was built for GPUs of compute capability 7.5, and this A fake/GPU has 8.9; build it again with",
        ),
    ],
)
def test_refused_before_it_is_loaded(fakes: Fakes, bundle: Bundle, changes: dict[str, Any], said: str) -> None:
    other = doctored(bundle, **changes)
    with pytest.raises(BackendError) as caught:
        TensorRTBackend(other, "trt-rtx")
    line = str(caught.value)
    assert line.startswith(f"{bundle.path / 'plans/trt-rtx/target.plan'}: must be rebuilt: {said}")
    assert "\n" not in line
    assert fakes.trt.engines == []


def test_the_line_is_the_checks(fakes: Fakes, bundle: Bundle) -> None:
    other = doctored(bundle, "9.9")
    host = TensorRTBackend(doctored(bundle), "trt-rtx").runtime.host()
    verdict = next(one.verdict for one in judge_backend("trt-rtx", other, host).plans if one.graph == "target")
    with pytest.raises(BackendError) as caught:
        TensorRTBackend(other, "trt-rtx")
    assert str(caught.value).endswith(f"target.plan: {told(verdict, other, host)}")


@pytest.mark.parametrize("changes", [{}, {"compute_capabilities": ["8.0", "9.0"], "or_later": True}])
def test_what_may_run_is_loaded(fakes: Fakes, bundle: Bundle, changes: dict[str, Any]) -> None:
    """A GPU of which nothing is promised, too: loading tells."""
    backend = TensorRTBackend(doctored(bundle, **changes), "trt-rtx")
    backend.plans.of("target")
    assert len(fakes.trt.engines) == 1


def test_bundles_that_were_built_before(fakes: Fakes, bundle: Bundle) -> None:
    """Nothing in them says where their plans run."""
    assert bundle.manifest.graphs["target"].plans[0].compatibility is None
    TensorRTBackend(bundle, "trt-rtx").plans.of("target")
    assert len(fakes.trt.engines) == 1
