"""Every shape that a bundle's loop asks its graphs for: on small, oblong and large models, and on the bundle's own."""

import pytest

from mulo_sd.conformance import report
from mulo_sd.conformance.engines.shape_laws import SHAPE_LAWS, ShapeLaw
from mulo_sd.conformance.engines.shape_sharing import max_shared_tokens
from mulo_sd.conformance.engines.shapes import FEW, MANY, MAX_SHARED_TOKENS, Shape, due_shapes, level_of_profile
from mulo_sd.conformance.subject import Subject
from mulo_sd.conformance.targets import Target
from mulo_sd.engines.backends.base import CAPABILITIES


@pytest.mark.parametrize("law", SHAPE_LAWS, ids=lambda law: law.law.__name__)
def test_shapes(law: ShapeLaw, shaped_target: Target, shaped_subject: Subject, request: pytest.FixtureRequest) -> None:
    """In every shape that the run's profile is for, a graph gives the reference's answer, and each shape is met."""
    level, max_shared = level_of_profile(), max_shared_tokens(shaped_subject)
    if level == MANY and (shaped_target.preset, shaped_target.precision) == ("demo", "fp16"):
        level = FEW
    if "shared passes" in law.meets and not max_shared:
        pytest.skip("not applicable: the backend shares no passes (it has no new_pool)")
    met: dict[Shape, None] = {}
    try:
        law.law(shaped_subject, level, lambda shape: met.setdefault(shape))
    finally:
        request.node.user_properties.append((report.SHAPES, [list(shape) for shape in met]))
        request.node.user_properties.append((report.SHARING, min(max_shared, MAX_SHARED_TOKENS)))
    if {*CAPABILITIES} - {"cascade", "latent"} <= shaped_subject.capabilities:
        due = due_shapes(shaped_subject.pipeline.bundle.manifest, max_shared, level)
        missed = [shape for shape in due if law.is_for(shape) and shape not in met]
        assert not missed, f"vacuous: never met {missed}"
