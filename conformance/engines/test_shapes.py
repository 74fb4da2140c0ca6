"""Every shape that a bundle's loop asks its graphs for, on small models, large ones, oblong ones and the bundle's own."""

import pytest

from conformance import report
from conformance.engines.shape_laws import SHAPE_LAWS, ShapeLaw
from conformance.engines.shapes import Shape, level_of_profile
from conformance.subject import Subject


@pytest.mark.parametrize("law", SHAPE_LAWS, ids=lambda law: law.law.__name__)
def test_shapes(law: ShapeLaw, shaped_subject: Subject, request: pytest.FixtureRequest) -> None:
    """In every shape that the run's profile asks for, a graph gives the reference's answer."""
    met: dict[Shape, None] = {}
    try:
        law.law(shaped_subject, level_of_profile(), lambda shape: met.setdefault(shape))
    finally:
        request.node.user_properties.append((report.SHAPES, [list(shape) for shape in met]))
