"""Mutants of a cycle: draft, proposal, expansion, anchor and cascade (DRAFT-1, SCALE-1 to LOCAL-3, CASCADE-1)."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mulo_sd.conformance.engines.unscored_backend import UnscoredBackend
from mulo_sd.conformance.mutants.mutant import Mutant, on_backend, patched
from mulo_sd.engines.backends.base import Tensors
from mulo_sd.engines.loop import decode, verify
from mulo_sd.engines.loop.decode import Decoder
from mulo_sd.engines.loop.execute import Verified
from mulo_sd.engines.rules import acceptance
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.reference.settings import Settings

Mask = NDArray[np.bool_]


def _before_t0(right: Any, rejected: Mask, radii: Any, first_row: int = 0, last_row: int | None = None) -> Mask:
    """Expand before the first rejection, too."""
    expanded = np.zeros_like(rejected)
    for radius in np.unique(radii[rejected]):
        expanded |= ndimage.maximum_filter(rejected & (radii == radius), size=2 * int(radius) + 1, mode="constant")
    expanded[:first_row] = False
    expanded[len(expanded) if last_row is None else last_row :] = False
    return expanded


def _over_row_ends(right: Any, rejected: Mask, radii: Any, first_row: int = 0, last_row: int | None = None) -> Mask:
    """Let the end of a row touch the start of the next."""
    height, width = rejected.shape
    last = (height if last_row is None else last_row) * width
    result = np.zeros(rejected.size, dtype=np.bool_)
    rejected_cells = np.flatnonzero(rejected)
    for cell in rejected_cells:
        radius = int(radii.ravel()[cell])
        for row in range(-radius, radius + 1):
            centre = cell + row * width
            result[
                max(centre - radius, int(rejected_cells[0]), first_row * width, 0) : max(
                    0, min(centre + radius + 1, last)
                )
            ] = True
    return result.reshape(rejected.shape)


def _out_of_the_window(right: Any, rejected: Mask, radii: Any, first_row: int = 0, last_row: int | None = None) -> Mask:
    """Let a rejection reach the rows of other windows."""
    return np.asarray(right(rejected, radii, 0, None))


def _diamond(right: Any, rejected: Mask, radii: Any, first_row: int = 0, last_row: int | None = None) -> Mask:
    """Count rows and columns together."""
    square = right(rejected, radii, first_row, last_row)
    distance = np.full(rejected.shape, np.inf)
    rows, columns = np.indices(rejected.shape)
    for row, column in np.argwhere(rejected):
        far = np.abs(rows - row) + np.abs(columns - column) - radii[row, column]
        distance = np.minimum(distance, far)
    return np.asarray(square & (distance <= 0))


def _sum_not_mean(right: Any, entropies: Any, radius: int, radius_nats: float) -> Any:
    return right(entropies * (2 * radius + 1), radius, radius_nats)


def _rounded_up(right: Any, entropies: Any, radius: int, radius_nats: float) -> Any:
    return np.minimum(right(entropies + radius_nats * (1 - 1e-6), radius, radius_nats), radius)


class _UpSamplesTheWindowAlone(UnscoredBackend):
    """Up-sample the last known row without those above it."""

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        if not graph.startswith("up_sampler") or len(inputs["low_tokens"]) == 1:
            return super().run(graph, inputs)
        rows = inputs["low_tokens"]
        half = len(rows) // 2
        parts = [
            super(_UpSamplesTheWindowAlone, self).run(graph, {"low_tokens": part})["high_tokens"]
            for part in (rows[:half], rows[half:])
        ]
        return {"high_tokens": np.concatenate(parts)}


class _WrongFilter(UnscoredBackend):
    """Repeat each token, whatever the up-sampler."""

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        if not graph.startswith("up_sampler"):
            return super().run(graph, inputs)
        ratio = int(graph.split("_")[2])
        return {"high_tokens": inputs["low_tokens"].repeat(ratio, axis=0).repeat(ratio, axis=1)}


class _DownSamplesByStriding(UnscoredBackend):
    """Take each block's first token."""

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        if not graph.startswith("down_sampler"):
            return super().run(graph, inputs)
        ratio = int(graph.split("_")[2])
        return {"low_tokens": np.ascontiguousarray(inputs["high_tokens"][::ratio, ::ratio])}


class _TransposedImage(UnscoredBackend):
    """Swap red and blue."""

    def run(self, graph: str, inputs: Tensors) -> dict[str, NDArray[Any]]:
        outputs = super().run(graph, inputs)
        return {"image": outputs["image"][..., ::-1]} if graph == "decoder" else outputs


def _draft_stays(right: Any, decoder: Decoder, first_row: int, last_row: int) -> Any:
    """Compute D_r, and leave the drafter's grid as it was drafted."""
    grids = [state.grid.copy() for state in decoder.states[1:]]
    pending = [set(state.pending) for state in decoder.states[1:]]
    rows = right(decoder, first_row, last_row)
    for state, grid, left in zip(decoder.states[1:], grids, pending, strict=True):
        state.grid, state.pending = grid, left
    return rows


def _no_look_ahead(right: Any, decoder: Decoder, *arguments: Any) -> Any:
    settings, decoder.settings = decoder.settings, decoder.settings.changed(look_ahead=0)
    proposal = right(decoder, *arguments)
    decoder.settings = settings
    return proposal


def _ahead_is_decided(right: Any, decoder: Decoder, level: int, *arguments: Any) -> Any:
    proposal = right(decoder, level, *arguments)
    for low in decoder.states[level + 1 :]:
        low.pending.update(np.flatnonzero(low.grid >= 0)[-2:].tolist())
    return proposal


def _middle_accepts_all(right: Any, state: Any, *arguments: Any) -> Any:
    """Let a drafter take what is drafted for it."""
    if state.number:
        state.settings = state.settings.changed(tau=0.0)
    return right(state, *arguments)


def _radius_plus(by: int) -> Any:
    return lambda right, entropies, radius, nats: right(entropies, max(0, radius + by), nats)


def _judged_unexpanded(right: Any, rejected: Mask, radii: Any, *rows: Any) -> Mask:
    return np.asarray(right(rejected, radii + 1, *rows))


def _last_row_is_kept(right: Any, pooled: Any, tau: float) -> Any:
    """Drop the last eight cells of a window from verification."""
    kept = right(pooled, tau)
    kept[-8:] = True
    return kept


def _anchor_of_the_first(right: Any, anchor: Anchor, cells: Any) -> Any:
    return right(anchor, [anchor.first_cell] * len(cells))


def _first_step_unanchored(
    right: Any, state: Any, schedule: Any, verified: Verified | None = None, *arguments: Any, **named: Any
) -> Any:
    """Forget the anchor where the verification's own logits are drawn from."""
    if verified is not None and verified.anchor is not None:
        original = type(state).sample
        first = [True]

        def sample(cells: Any, logits: Any, source_pass: Any = None, anchor: Any = None) -> Any:
            used = None if first[0] else anchor
            first[0] = False
            return original(state, cells, logits, source_pass, used)

        state.sample = sample
        try:
            return right(state, schedule, verified, *arguments, **named)
        finally:
            del state.sample
    return right(state, schedule, verified, *arguments, **named)


def _unnormalised_anchor(right: Any, anchor: Anchor, cells: Any) -> Any:
    return right(replace(anchor, codes=anchor.codes * 1.1), cells)


def _transposed(right: Any, decoder: Decoder, *arguments: Any) -> Any:
    decoded = right(decoder, *arguments)
    return replace(decoded, tokens=np.ascontiguousarray(decoded.tokens.T))


MUTANTS = (
    Mutant("a rejection reaches cells before t0", "LOCAL-1", patched(verify, "expand", _before_t0)),
    Mutant("a rejection reaches over the end of a row", "LOCAL-1", patched(verify, "expand", _over_row_ends)),
    Mutant("a rejection reaches out of its window", "LOCAL-1", patched(verify, "expand", _out_of_the_window)),
    Mutant("a rejection reaches in a diamond", "LOCAL-1", patched(verify, "expand", _diamond)),
    Mutant(
        "a rejection reaches one cell further than its radius", "LOCAL-1", patched(verify, "expand", _judged_unexpanded)
    ),
    Mutant("the radius is one too large", "LOCAL-3", patched(verify, "adaptive_radii", _radius_plus(1))),
    Mutant("the radius is one too small", "LOCAL-3", patched(verify, "adaptive_radii", _radius_plus(-1))),
    Mutant("the adaptive radius adds entropies up", "LOCAL-3", patched(verify, "adaptive_radii", _sum_not_mean)),
    Mutant("the adaptive radius is rounded up", "LOCAL-3", patched(verify, "adaptive_radii", _rounded_up)),
    Mutant("the last row of a window is not verified", "VERIFY-1", patched(acceptance, "accept", _last_row_is_kept)),
    Mutant(
        "the anchor repels", "ANCHOR-1", patched(Anchor, "bonus", lambda right, anchor, cells: -right(anchor, cells))
    ),
    Mutant("the anchor of the window's first cell for all", "ANCHOR-1", patched(Anchor, "bonus", _anchor_of_the_first)),
    Mutant("the anchor's codes are not normalised", "ANCHOR-1", patched(Anchor, "bonus", _unnormalised_anchor)),
    Mutant("the first resampled step has no anchor", "ANCHOR-1", patched(verify, "execute", _first_step_unanchored)),
    Mutant("the up-sampler sees a half of the rows at a time", "SCALE-1", on_backend(_UpSamplesTheWindowAlone)),
    Mutant("the up-sampler repeats tokens", "SCALE-1", on_backend(_WrongFilter)),
    Mutant("the down-sampler takes every second token", "SCALE-2", on_backend(_DownSamplesByStriding)),
    Mutant("what D_r gives does not replace the draft", "SCALE-2", patched(Decoder, "_down_sample", _draft_stays)),
    Mutant("nothing is drafted ahead", "DRAFT-1", patched(Decoder, "_propose", _no_look_ahead)),
    Mutant(
        "what is drafted ahead enters the cache",
        "KV-3",
        patched(Decoder, "_propose", _ahead_is_decided),
        # A row is begun before the one above is drafted again, and sees what was drafted ahead there.
        (Settings(mode="serial", draft_rows=1, look_ahead=1, draft_window=1, tau=0.05, neighbours=8),),
    ),
    Mutant(
        "the middle model of a cascade accepts everything",
        "ACCEPT-1",
        patched(decode, "verify_locally", _middle_accepts_all),
    ),
    Mutant("rows and columns of the grid are swapped", "GRID-1", patched(Decoder, "decode", _transposed)),
    Mutant("red and blue are swapped", "CONF-2", on_backend(_TransposedImage)),
)
