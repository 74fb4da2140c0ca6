"""The anchor's bonus: the reference's, and a cell's is the same whoever is asked for with it."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mulo_sd.engines.rules.anchor import BLOCK, Anchor
from mulo_sd.reference import anchor as reference

CODES, FIRST = 24, 100
CELLS = 2 * BLOCK + 5


@given(
    st.lists(st.integers(0, CELLS - 1), min_size=1, max_size=20, unique=True), st.floats(0.1, 16), st.integers(0, 99)
)
@settings(deadline=None)
def test_equals_the_reference(places: list[int], strength: float, seed: int) -> None:
    """ANCHOR-1: strength times the cosine of each code with the draft token."""
    generator = np.random.default_rng(seed)
    codes = generator.standard_normal((CODES, 4)).astype(np.float32)
    codes /= np.linalg.norm(codes, axis=1, keepdims=True)
    drafts = generator.integers(0, CODES, CELLS)
    cells = sorted(FIRST + place for place in places)
    bonus = Anchor(strength, codes, drafts, FIRST).bonus(cells)
    expected = reference.Anchor(strength, torch.from_numpy(codes), torch.from_numpy(drafts), FIRST).bonus(cells)
    assert bonus.dtype == np.float32
    np.testing.assert_allclose(bonus, expected.numpy(), atol=1e-5 * strength)


@given(st.lists(st.sets(st.integers(0, CELLS - 1), min_size=1), min_size=1, max_size=5), st.integers(0, 99))
@settings(deadline=None)
def test_a_cells_bonus_does_not_depend_on_company(sets: list[set[int]], seed: int) -> None:
    """Bit by bit: by sweeps of other widths a cell is asked for in other company, and must draw the same token."""
    generator = np.random.default_rng(seed)
    codes = generator.standard_normal((CODES, 16)).astype(np.float32)
    drafts = generator.integers(0, CODES, CELLS)
    kept, alone = (
        Anchor(3.0, codes, drafts, 0),
        [Anchor(3.0, codes, drafts, 0).bonus([cell])[0] for cell in range(CELLS)],
    )
    for some in sets:
        cells = sorted(some)
        for cell, row in zip(cells, kept.bonus(np.array(cells)), strict=True):
            np.testing.assert_array_equal(row.view(np.uint32), alone[cell].view(np.uint32))
