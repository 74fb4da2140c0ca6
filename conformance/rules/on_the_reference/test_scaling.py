"""SCALE-1 and SCALE-2."""

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import torch
from hypothesis import example, given

from mulo_sd.conformance.rules import cycle_laws, function_laws
from mulo_sd.conformance.rules.branches import must_reach, reach, share_of_examples
from mulo_sd.conformance.strategies.decodes import (
    DRAFTED_MODES,
    FILTERED,
    GIVEN,
    MIXED,
    SEEDS,
    Case,
    cases,
    drafts_of,
    settings_of,
)
from mulo_sd.conformance.strategies.toys import CODES, Toy, build, toys
from mulo_sd.reference.scaling import DOWN_FILTERS, UP_FILTERS, down_sample, up_sample


@st.composite
def two_drafts(draw: st.DrawFn) -> tuple[Case, int, tuple[int, ...]]:
    """Decodes of a given draft, a row of it, and another draft that differs from that row on."""
    toy = draw(toys())
    settings = replace(draw(settings_of(toy)), drafters=(1,))
    case = Case(toy, settings, draw(SEEDS), draw(drafts_of(toy)))
    row = draw(st.integers(0, toy.height - 1))
    shifts = draw(st.lists(st.integers(1, CODES - 1), min_size=1, max_size=toy.width * (toy.height - row)))
    assert case.draft is not None
    changed = list(case.draft)
    for cell, shift in enumerate(shifts, start=row * toy.width):
        changed[cell] = (changed[cell] + shift) % CODES
    return case, row, tuple(changed)


class TestScale1:
    """SCALE-1 Up-sampling.

    The up-sampler U_r maps the low-resolution rows known so far, look-ahead included, to the rows of the window. It is
    deterministic and depends on nothing after the last known row.
    """

    @must_reach(
        "a window before the change", "a window after the change is another", "look-ahead alone changes a window"
    )
    @example((GIVEN, 2, (0, 10, 3, 3, 1, 4)))
    @example((GIVEN, 1, (0, 10, 9, 8, 7, 1)))
    @share_of_examples(3)
    @given(two_drafts())
    def test_later_rows_are_nothing_to_a_window(self, case: tuple[Case, int, tuple[int, ...]]) -> None:
        """The window depends on nothing after the last known row."""
        one, row, changed = case
        settings, other = one.settings, one._replace(draft=changed)
        for cycle, same in zip(one.run().trace.cycles_of(0), other.run().trace.cycles_of(0), strict=True):
            window_end = cycle.last_row // one.toy.scale_ratio
            unchanged = torch.equal(cycle.up_sampled, same.up_sampled)
            if window_end + settings.look_ahead <= row:
                assert unchanged
                assert torch.equal(cycle.tokens, same.tokens)
                reach("a window before the change")
            else:
                reach("a window after the change is another", not unchanged)
                reach("look-ahead alone changes a window", not unchanged and window_end <= row)
                break

    @must_reach("verified rows differ from the draft", "the nearest code is clear")
    @example(MIXED)
    @example(GIVEN)
    @example(FILTERED)
    @share_of_examples(2)
    @given(cases(DRAFTED_MODES, own_draft=True))
    def test_scaling_in_a_decode(self, case: Case) -> None:
        """U_r maps the low-resolution rows known so far, look-ahead included, to the window's rows.

        SCALE-2: D_r maps the verified high-resolution rows to low-resolution rows; only the new window's are taken.
        """
        cycle_laws.scaling_uses_known_rows(case, case.run())


@st.composite
def images(draw: st.DrawFn) -> tuple[np.typing.NDArray[np.float64], int, bool, str]:
    """Images, a whole scale, whether they grow, and a filter; to shrink, both sides are multiples of the scale."""
    scale, up = draw(st.integers(1, 4)), draw(st.booleans())
    height, width = (draw(st.integers(1, 5)) * (1 if up else scale) for _ in range(2))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    resize_filter = draw(st.sampled_from(UP_FILTERS if up else DOWN_FILTERS))
    return generator.uniform(-1, 1, (draw(st.integers(1, 2)), 3, height, width)), scale, up, resize_filter


LINE = np.array([-1.0, 1.0, 1.0, -0.5]).reshape(1, 1, 1, 4).repeat(3, axis=1).repeat(2, axis=2)


class TestScale2:
    """SCALE-2 Down-sampling.

    The down-sampler D_r maps the decided high-resolution rows to low-resolution rows. Only the rows of the new window
    are taken from it; they replace the draft, and enter the drafter's cache by KV-3 with its next pass. In a cascade it
    goes on level by level from the target's decided rows, as far down as whole rows of a level are decided.
    """

    @must_reach("other tokens, other result")
    @example(Toy(2, 2, 2, 1, 1, 1.5, 3), list(range(4)))
    @share_of_examples(1)
    @given(toys(), st.lists(st.integers(0, CODES - 1), min_size=1, max_size=4))
    def test_determinism(self, toy: Toy, some: list[int]) -> None:
        """SCALE-1, SCALE-2: U_r and D_r are deterministic, and have r times as many rows and columns, or as few."""
        tokenizer, ratio = build(toy).models.tokenizer, toy.scale_ratio
        low = torch.tensor(some)[torch.arange(toy.height * toy.width) % len(some)].reshape(toy.height, toy.width)
        high = up_sample(tokenizer, low, ratio)
        assert high.shape == (toy.target_height, toy.target_width)
        assert torch.equal(high, up_sample(tokenizer, low.clone(), ratio))
        again = down_sample(tokenizer, high, ratio)
        assert again.shape == low.shape
        assert torch.equal(again, down_sample(tokenizer, high.clone(), ratio))
        reach("other tokens, other result", not torch.equal(high, up_sample(tokenizer, (low + 1) % CODES, ratio)))

    @must_reach(
        *(f"enlarged by {resize_filter}" for resize_filter in UP_FILTERS),
        *(f"shrunk by {resize_filter}" for resize_filter in DOWN_FILTERS),
    )
    @example((LINE, 2, True, "bicubic"))
    @example((LINE, 3, True, "bilinear"))
    @example((LINE, 2, True, "nearest"))
    @example((LINE, 2, False, "area"))
    @example((LINE, 2, False, "bicubic"))
    @given(images())
    def test_resizing(self, case: tuple[np.typing.NDArray[np.float64], int, bool, str]) -> None:
        """SCALE-1, SCALE-2: Between tokens, U_r enlarges pixels by its filter and D_r shrinks them by its own.

        Edges are repeated, and the result is clamped to [-1, 1].
        """
        function_laws.resizing_is_separable(*case, function_laws.resize)
