"""The overlay: every drafted cell has the colour of what became of it, and nothing else is touched."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mulo_sd.engines.commands.overlay import (
    EXPANDED_RGB,
    KEPT_RGB,
    LEGEND_HEIGHT,
    MAGNIFY,
    OPACITY,
    REJECTED_RGB,
    draw_overlay,
)
from mulo_sd.engines.rules.trace import Cycle, Trace

GREY = 100
CELL = 4  # pixels of the image


def make_cycle(first_row: int, kept: list[list[int]], resampled: list[list[int]], model: int = 0) -> Cycle:
    mask = np.array(kept, dtype=np.bool_)
    nothing = np.zeros(mask.shape, dtype=np.int64)
    return Cycle(
        model=model,
        draft_model=model + 1,
        first_row=first_row,
        last_row=first_row + len(mask),
        draft_first_row=first_row // 2,
        draft_tokens=nothing,
        up_sampled=nothing,
        pooled_probs=nothing.astype(np.float32),
        kept=mask,
        radii=nothing,
        resampled=np.array(resampled, dtype=np.bool_),
        tokens=nothing,
        down_sampled=None,
        verify_pass=0,
    )


def draw(trace: Trace) -> NDArray[np.uint8]:
    """Overlay a grey image of 4 rows and 3 columns of cells."""
    image = Image.new("RGB", (3 * CELL, 4 * CELL), (GREY, GREY, GREY))
    return np.asarray(draw_overlay(image, trace))


def tinted(rgb: tuple[int, int, int]) -> list[int]:
    return [int(GREY + OPACITY * (channel - GREY)) for channel in rgb]


def test_cells() -> None:
    """Kept, rejected and expanded cells of two cycles, at their rows and columns; rows without a draft stay."""
    cycles = [
        make_cycle(0, [[1, 0, 1]], [[0, 1, 1]]),
        make_cycle(2, [[1, 1, 1], [0, 1, 1]], [[0, 0, 0], [1, 1, 0]]),
    ]
    pixels = draw(Trace(cycles=cycles))
    kept, rejected, expanded, none = tinted(KEPT_RGB), tinted(REJECTED_RGB), tinted(EXPANDED_RGB), [GREY] * 3
    expected = [
        [kept, rejected, expanded],
        [none, none, none],
        [kept, kept, kept],
        [rejected, expanded, kept],
    ]
    size = CELL * MAGNIFY
    for row, colours in enumerate(expected):
        for column, colour in enumerate(colours):
            cell = pixels[row * size : (row + 1) * size, column * size : (column + 1) * size]
            assert (cell[1:, 1:] == colour).all()
            # One line of the image between cells.
            assert (cell[0] == GREY).all()
            assert (cell[:, 0] == GREY).all()


def test_cascade() -> None:
    """The middle model's cycles, which stand in the trace too, are no part of the target's picture."""
    target = make_cycle(0, [[1, 1, 1]], [[0, 0, 0]])
    middle = make_cycle(0, [[0, 0]], [[1, 1]], model=1)
    np.testing.assert_array_equal(draw(Trace(cycles=[middle, target])), draw(Trace(cycles=[target])))


def test_size_and_legend() -> None:
    """The image is magnified; below it stands a white legend with all three colours."""
    pixels = draw(Trace(cycles=[make_cycle(0, [[1, 0, 1]], [[0, 1, 1]])]))
    assert pixels.shape == (4 * CELL * MAGNIFY + LEGEND_HEIGHT, 3 * CELL * MAGNIFY, 3)
    legend = pixels[4 * CELL * MAGNIFY :]
    assert (legend[0] == 255).all()
    assert (legend == KEPT_RGB).all(axis=-1).any()


def test_without_a_draft_the_image_stays() -> None:
    """MODE-AR drafts nothing."""
    assert (draw(Trace())[: 4 * CELL * MAGNIFY] == GREY).all()
