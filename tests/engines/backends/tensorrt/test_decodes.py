"""Whole decodes, alone and in shared passes."""

from typing import Any

import numpy as np
import pytest

from mulo_sd import engines
from mulo_sd.engines.backends.base import BackendError
from mulo_sd.engines.backends.choose import check_backend
from mulo_sd.engines.backends.tensorrt.backend import TensorRTBackend
from mulo_sd.engines.bundle import Bundle
from tests.engines.backends.tensorrt.minimal_decodes import PROFILES, SETTINGS, Plain, grids, with_plans
from tests.fakes.tensorrt import FakeEngine, Fakes


@pytest.mark.parametrize("name", ["trt-rtx", "trt"])
@pytest.mark.parametrize("given", SETTINGS)
def test_decodes(large_fakes: Fakes, minimal: Bundle, given: str, name: str) -> None:
    """Tokens are those of the same graphs on the host, whatever is captured, gathered and given back."""
    bundle = with_plans(minimal, name)
    backend = TensorRTBackend(bundle, name)
    assert backend.traits.pools
    for got, want in zip(
        grids(backend, bundle, SETTINGS[given]), grids(Plain(minimal), minimal, SETTINGS[given]), strict=True
    ):
        np.testing.assert_array_equal(got, want)
    assert (large_fakes.cuda.launches > 0) == (name == "trt")
    assert backend.notes == []


def test_decodes_share_passes(large_fakes: Fakes, minimal: Bundle) -> None:
    """Requests of a session draw what they draw alone, in fewer passes."""
    bundle = with_plans(minimal, "trt")
    given = SETTINGS["ar"]
    expected = [engines.Pipeline(minimal, Plain(minimal)).generate("a red circle", seed=n, **given) for n in range(3)]
    pipeline = engines.Pipeline(bundle, TensorRTBackend(bundle, "trt"))
    with pipeline.session(4) as session:
        found = [session.submit("a red circle", seed=n, **given) for n in range(3)]
        for request, want in zip(found, expected, strict=True):
            np.testing.assert_array_equal(request.result().tokens, want.tokens)
        assert session.passes < 2 * 65


@pytest.mark.parametrize(("guidance", "most"), [(3.0, 90), (1.0, 90)])
def test_eight_decodes_share_passes_of_any_size(
    large_fakes: Fakes, minimal: Bundle, monkeypatch: pytest.MonkeyPatch, guidance: float, most: int
) -> None:
    """No pass is made that a plan was not built for, and few are: with guidance, and without."""
    refused = list[tuple[int, ...]]()
    score = TensorRTBackend.score

    def noted(self: TensorRTBackend, graph: str, cache: Any, inputs: Any) -> Any:
        try:
            return score(self, graph, cache, inputs)
        except BackendError:
            refused.append(inputs["tokens"].shape)
            raise

    monkeypatch.setattr(TensorRTBackend, "score", noted)
    bundle = with_plans(minimal, "trt-rtx")
    given = SETTINGS["parallel"] | {"guidance_scale": guidance}
    expected = [engines.Pipeline(minimal, Plain(minimal)).generate("a red circle", seed=n, **given) for n in range(8)]
    with engines.Pipeline(bundle, TensorRTBackend(bundle, "trt-rtx")).session(8) as session:
        found = [session.submit("a red circle", seed=n, **given) for n in range(8)]
        for request, want in zip(found, expected, strict=True):
            np.testing.assert_array_equal(request.result().tokens, want.tokens)
        assert session.passes < most
    assert refused == []


def test_more_decodes_than_a_plan_takes(large_fakes: Fakes, minimal: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes are shared by as many as fit."""
    profiles = [*PROFILES[:3], PROFILES[3] | {"batch": 4}]
    monkeypatch.setattr(FakeEngine, "PROFILES", profiles)
    bundle, given = with_plans(minimal, "trt-rtx", profiles), SETTINGS["ar"]
    expected = [engines.Pipeline(minimal, Plain(minimal)).generate("a red circle", seed=n, **given) for n in range(4)]
    pipeline = engines.Pipeline(bundle, TensorRTBackend(bundle, "trt-rtx"))
    found = pipeline.generate(["a red circle"] * 4, list(range(4)), batch=4, **given)
    for got, want in zip(found, expected, strict=True):
        np.testing.assert_array_equal(got.tokens, want.tokens)


def test_plans_without_rows_for_several_decodes(fakes: Fakes, bundle: Bundle) -> None:
    """There is no pool then: each decode has its own passes."""
    backend = TensorRTBackend(bundle, "trt-rtx")
    assert not backend.traits.pools
    check_backend("trt-rtx", backend)
