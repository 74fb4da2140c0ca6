"""Which steps of a decode a stream sends."""

import pytest

from mulo_sd.engines.http.streams import error_event, worth_showing
from mulo_sd.engines.ingress.errors import not_ready
from mulo_sd.engines.ingress.partial_images import PartialImages, share_shown
from mulo_sd.engines.service.steps import Cell
from tests.engines.http.toy_engine import step_at


def test_a_draft_token_counts_half() -> None:
    assert share_shown(step_at(1, 0)) == 0
    assert share_shown(step_at(1, 0, 16)) == 0.5
    assert share_shown(step_at(1, 8, 16)) == 0.75
    assert share_shown(step_at(1, 8)) == 0.5


@pytest.mark.parametrize(("count", "decided"), [(0, []), (1, [8]), (2, [6, 11]), (3, [4, 8, 12])])
def test_partial_images_come_at_even_shares(count: int, decided: list[int]) -> None:
    partial = PartialImages(count)
    assert [at for at in range(17) if partial.wants(step_at(at, at))] == decided


def test_a_share_that_is_jumped_over_is_left_out() -> None:
    partial = PartialImages(3)
    steps = [step_at(1, 0, 16), step_at(2, 0, 16), step_at(3, 13, 16), step_at(4, 15, 16), step_at(5, 16)]
    assert [step.number for step in steps if partial.wants(step)] == [1, 3]


def test_no_image_is_sent_twice() -> None:
    """A share may be reached by cells that are judged, and look as they did."""
    partial = PartialImages(3)
    proposal = step_at(1, 0, 16)
    judged = step_at(2, 0, 16)
    judged.cells[:2] = Cell.KEPT
    assert share_shown(judged) == 0.75
    assert [partial.wants(step) for step in (proposal, judged)] == [True, False]
    assert partial.sent == 1


def test_grids_of_drafters_are_no_partial_images() -> None:
    assert not PartialImages(3).wants(step_at(1, 16, model=1))


def test_a_viewer_that_lags_sees_what_begins_and_the_newest() -> None:
    steps = [step_at(1, 0), step_at(2, 2), step_at(3, 0, 16), step_at(4, 1, 16), step_at(5, 2, 16)]
    assert [step.number for step in worth_showing(steps, None)] == [1, 3, 5]
    assert [step.number for step in worth_showing(steps[1:], steps[0])] == [3, 5]
    assert [step.number for step in worth_showing(steps[3:4], steps[2])] == [4]


def test_an_error_in_a_stream_is_nested() -> None:
    """OpenAI's client takes a flat one for a partial image, and says nothing."""
    assert error_event(not_ready("draining")).startswith(b'event: error\ndata: {"error": {"message": "service: ')
