"""Whole decodes: toy models, settings and a seed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import hypothesis.strategies as st
import torch
from torch import Tensor

from mulo_sd.conformance.rules.decode_case import FLOAT64, Rounding
from mulo_sd.conformance.strategies.toys import CODES, Toy, World, build, toys
from mulo_sd.reference.acceptances import ACCEPTANCES
from mulo_sd.reference.decode import Decoded, decode
from mulo_sd.reference.models import Condition, Models
from mulo_sd.reference.settings import MODES, Mode, Settings


class Case(NamedTuple):
    """Everything that a decode depends on; `draft` holds tokens to take instead of the coarsest drafter's."""

    toy: Toy
    settings: Settings
    seed: int
    draft: tuple[int, ...] | None = None

    @property
    def world(self) -> World:
        return build(self.toy)

    @property
    def models(self) -> Models:
        return self.world.models

    @property
    def condition(self) -> Condition:
        return self.world.condition

    @property
    def rounding(self) -> Rounding:
        return FLOAT64

    @property
    def prefix_length(self) -> int:
        return self.toy.prefix_length

    @property
    def codes(self) -> int:
        return CODES

    def grid(self, model: int) -> tuple[int, int]:
        """Return a model's rows and columns."""
        return self.toy.grid(model)

    @property
    def draft_tensor(self) -> Tensor | None:
        """Int[h, w]; None where the target alone decodes."""
        if self.draft is None or not self.settings.decoding.drafts:
            return None
        return torch.tensor(self.draft).reshape(self.toy.grid(self.settings.model_numbers[-1]))

    def run(self, record_logits: bool = False) -> Decoded:
        """Decode."""
        models, condition = self.world
        return decode(models, condition, self.settings, self.seed, self.draft_tensor, record_logits)


SEEDS = st.integers(0, 2**64 - 1) | st.sampled_from((0, 2**32, 2**64 - 1))
# Those that draft first, since Hypothesis shrinks towards the first.
ALL_MODES: tuple[Mode, ...] = tuple(sorted(MODES, key=lambda mode: not MODES[mode].drafts))
DRAFTED_MODES: tuple[Mode, ...] = tuple(mode for mode in ALL_MODES if MODES[mode].drafts)
# Those that pool and resample around rejections.
LOCAL_MODES: tuple[Mode, ...] = tuple(mode for mode in ALL_MODES if MODES[mode].is_local)
# Those that judge drafts pass by pass; those whose drafts are a tree.
TREE_MODES: tuple[Mode, ...] = tuple(mode for mode in ALL_MODES if MODES[mode].has_tree)
JUDGING_MODES: tuple[Mode, ...] = tuple(
    mode for mode in ALL_MODES if MODES[mode].is_speculative and mode not in TREE_MODES
)
WINDOWS = st.sampled_from((2, 1, 3, None, 4, 9))
LIMITS = st.none() | st.integers(1, 4)
# In the middle, about a toy's pooled probabilities: some tokens are kept, some rejected.
TAUS = st.sampled_from((0.2, 0.1, 0.05, 0.4)) | st.floats(0, 1) | st.sampled_from((-1.0, 0.0, 1.0, 1.5))


def order_of(draw: st.DrawFn) -> dict[str, Any]:
    """Draw the settings that say in which order cells are decided, and what is judged; they fit any models."""
    return {
        "look_ahead": draw(st.integers(0, 2)),
        "refresh": draw(st.booleans()),
        "accept_on": draw(st.sampled_from(("processed", "raw"))),
        "window": draw(WINDOWS),
        "adaptive_window": draw(st.booleans()),
        "draft_window": draw(WINDOWS),
        "islands": draw(st.booleans()),
        "island_window": draw(WINDOWS),
        "draft_by": draw(st.sampled_from(("windows", "sweeps"))),
        "resample_by": draw(st.sampled_from(("windows", "sweeps"))),
        "sweep_width": draw(st.just("auto") | WINDOWS),
        "sweeps": draw(LIMITS),
        "draft_sweeps": draw(LIMITS),
        "first_guess": draw(st.sampled_from(("above", "left", "opening"))),
    }


def parts_of(draw: st.DrawFn, mode: Mode) -> dict[str, Any]:
    """Draw what methods read that judge drafts pass by pass, and now and then another part of theirs (METHOD-1)."""
    decoding = MODES[mode]
    sizes: dict[str, Any] = {
        "draft_by": draw(st.sampled_from(("windows", "sweeps", "rows"))) if decoding.drafts else "windows",
        "refine_by": draw(st.sampled_from(("local", "rounds"))) if decoding.drafts else "local",
        "jacobi_window": draw(st.sampled_from((4, 1, 2, 7, 50))),
        "row_lead": draw(st.sampled_from((2, 1, 3, 9))),
        "rounds": draw(st.integers(1, 4)),
    }
    if decoding.draft is None or draw(st.integers(0, 2)) == 0:
        return sizes
    if decoding.has_tree:
        return sizes | {
            "tree_nodes": draw(st.sampled_from((12, 1, 5, 30))),
            "tree_depth": draw(st.integers(1, 4)),
            "tree_top": draw(st.sampled_from((3, 1, 5))),
            "accept_by": draw(st.sampled_from(("mode", "lossless", "lantern", "lantern-plus"))),
            "lantern_neighbours": draw(st.sampled_from((3, 1000))),
            "lantern_delta": draw(st.sampled_from((0.4, 0.1))),
            "lantern_factor": draw(st.sampled_from((5.0, 2.0))),
        }
    return sizes | {
        "accept_by": draw(st.sampled_from(("mode", *ACCEPTANCES)) if decoding.is_speculative else st.just("mode")),
        "carry": draw(st.sampled_from(("mode", "fresh", "same", "coupled", "kept"))),
        "draft_length": draw(st.sampled_from((3, 1, 6))),
        "block": draw(st.sampled_from((5, 1, 25))),
        "group": draw(st.sampled_from((10, 3, 1))),
        "group_distance": draw(st.sampled_from((0.5, 2.0))),
        "anneal": draw(st.sampled_from((1.1, 2.0, 0.5))),
        "top_beta": draw(st.sampled_from((5, 1, 2))),
        "top_tau": draw(st.sampled_from((3.0, 0.5))),
    }


@st.composite
def settings_of(draw: st.DrawFn, toy: Toy, mode: Mode = "serial") -> Settings:
    """Settings that a toy can be decoded with, in any mix."""
    drafters = st.sampled_from(((1, 2), (1,), (2,))) if toy.coarse_ratio else st.just((1,))
    return Settings(
        mode=mode,
        guidance_scale=draw(st.sampled_from((1.5, 1.0, 3.0, 0.0))),
        temperature=draw(st.sampled_from((1.0, 0.5, 2.0, 0.0))),
        top_k=draw(st.sampled_from((0, 7, 3, 50))),
        top_p=draw(st.sampled_from((1.0, 0.95, 0.6))),
        drafters=draw(drafters),
        up_sampler=draw(st.sampled_from(("bicubic", "bilinear", "nearest"))),
        down_sampler=draw(st.sampled_from(("area", "bicubic"))),
        tau=draw(TAUS),
        radius=draw(st.integers(0, 3)),
        radius_nats=draw(st.sampled_from((0.0, 0.5, 1.0, 2.0))),
        anchor=draw(st.sampled_from((0.0, 1.0, 4.0))),
        neighbours=draw(st.integers(1, 5) | st.integers(1, CODES)),
        draft_rows=draw(st.integers(1, toy.height + 1)),
        **(order_of(draw) | parts_of(draw, mode)),
    )


@st.composite
def drafts_of(draw: st.DrawFn, toy: Toy, model: int = 1) -> tuple[int, ...]:
    """Tokens for a drafter's whole grid."""
    height, width = toy.grid(model)
    cells = height * width
    return tuple(draw(st.lists(st.integers(0, CODES - 1), min_size=cells, max_size=cells)))


@st.composite
def cases(draw: st.DrawFn, modes: Sequence[Mode] = ("serial",), max_cells: int = 48, own_draft: bool = False) -> Case:
    """Decodes in some mode; with `own_draft` the coarsest drafter's tokens are now and then given."""
    toy = draw(toys(max_cells))
    settings = draw(settings_of(toy, draw(st.sampled_from(modes))))
    drafted = own_draft and settings.decoding.drafts
    draft = draw(st.none() | drafts_of(toy, settings.model_numbers[-1])) if drafted else None
    return Case(toy, settings, draw(SEEDS), draft)


# Examples that the random ones may miss; the properties name the branches that these reach.
MIXED = Case(Toy(3, 4, 2, 2, 2, 1.5, 11), Settings(tau=0.2, neighbours=3, radius=1, draft_rows=1, look_ahead=1), 5)
ACCEPTED = MIXED._replace(settings=Settings(tau=0.0, neighbours=3, draft_rows=1))
AHEAD = Case(
    Toy(4, 2, 2, 1, 1, 3.0, 12),
    Settings(guidance_scale=1.0, tau=0.3, neighbours=2, radius=0, draft_rows=1, look_ahead=2),
    2**64 - 1,
)
FILTERED = Case(
    Toy(3, 2, 2, 3, 2, 1.5, 13),
    Settings(temperature=0.5, top_k=5, top_p=0.9, tau=0.15, neighbours=3, draft_rows=2, look_ahead=0, accept_on="raw"),
    7,
)
REFRESHED = Case(
    Toy(3, 3, 2, 1, 2, 1.5, 14), Settings(tau=0.2, neighbours=3, radius=0, draft_rows=1, refresh=True), 2**40 + 1
)
GIVEN = Case(Toy(3, 2, 2, 1, 1, 3.0, 15), Settings(tau=0.1, neighbours=3, draft_rows=1), 9, (0, 10, 3, 3, 7, 1))
AUTOREGRESSIVE = Case(Toy(2, 3, 2, 2, 2, 3.0, 16), Settings(mode="ar", temperature=0.5, top_p=0.9), 3)
ZIPPED = Case(Toy(2, 3, 2, 2, 2, 3.0, 17), Settings(mode="zipar", window=2), 4)
ADAPTIVE = Case(Toy(2, 3, 2, 1, 1, 3.0, 18), Settings(mode="zipar", window=1, adaptive_window=True), 6)
PARALLEL = Case(Toy(2, 3, 2, 2, 2, 1.5, 19), Settings(mode="parallel", tau=0.3, neighbours=3, draft_window=1), 8)
ISLANDS = PARALLEL._replace(settings=Settings(mode="parallel", tau=0.1, neighbours=3, radius=0, island_window=1))
ANCHORED = MIXED._replace(settings=Settings(tau=0.2, neighbours=3, draft_rows=1, anchor=4.0))
EXACT = Case(Toy(2, 3, 2, 2, 2, 1.5, 20), Settings(mode="exact", neighbours=3, sweep_width=3), 10)
UNEVEN = MIXED._replace(settings=Settings(tau=0.05, neighbours=3, draft_rows=2, radius=2, radius_nats=1.4))
CASCADE = Case(
    Toy(4, 2, 2, 1, 1, 1.5, 21, coarse_ratio=2),
    Settings(drafters=(1, 2), tau=0.2, neighbours=3, draft_rows=1, look_ahead=1),
    11,
)
CASCADE_PARALLEL = Case(
    Toy(2, 4, 2, 2, 1, 1.5, 22, coarse_ratio=2),
    Settings(mode="parallel", drafters=(1, 2), tau=0.2, neighbours=3, draft_window=1, island_window=1, radius=0),
    12,
)
WIDE_CASCADE = CASCADE._replace(toy=Toy(4, 4, 1, 1, 1, 1.5, 21, coarse_ratio=2))
