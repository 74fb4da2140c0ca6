"""A walk through passes of one model, without guidance and with it, beside the reference's position-addressed cache."""

from copy import deepcopy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd.conformance.engines.cases import PROMPTS, SEED
from mulo_sd.conformance.engines.conditions import condition_of, engine_condition
from mulo_sd.conformance.engines.shape_tokens import Cells, Tokens
from mulo_sd.conformance.engines.shapes import (
    BLOCK,
    Level,
    Note,
    Shape,
    blocks,
    cells_of,
    pass_lengths,
    pass_shape,
)
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.bundle.manifest import Manifest, TransformerEntry
from mulo_sd.engines.passes.transformer import TransformerSession
from mulo_sd.engines.rules.slots import DEAD_RANK, SlotTable
from mulo_sd.reference.cache import KVCache, feed
from mulo_sd.reference.models import Condition
from mulo_sd.reference.transformer import Transformer

# Passes after which any cache is full.
MAX_TRIES = 200
Logits = NDArray[np.float32]


class Oracle:
    """The reference's passes for all rows of a condition, Float32[B, T, V] each."""

    def __init__(self, model: Transformer, prefixes: Tensor, places: Tensor) -> None:
        self.model, self.prefixes, self.places = model, prefixes, places
        self.cache = KVCache(model.config, len(prefixes))

    def prefill(self) -> Logits:
        """Feed the prefix tokens that exist."""
        with torch.inference_mode():
            embeddings = self.model.prefix_embeddings(self.prefixes)[:, self.places]
            return np.asarray(feed(self.model, self.cache, embeddings, self.places).numpy())

    def feed(self, cells: Cells, tokens: Cells) -> Logits:
        """Feed image tokens at cells."""
        with torch.inference_mode():
            embeddings = self.model.token_embeddings(torch.from_numpy(tokens)[None].expand(len(self.prefixes), -1))
            positions = torch.from_numpy(cells + self.model.config.prefix_length)
            return np.asarray(feed(self.model, self.cache, embeddings, positions).numpy())


def guided_batches(subject: Subject) -> tuple[int, ...]:
    """Return of how many rows the passes of one request are: one without guidance, two with it."""
    return (1, 2) if "guidance" in subject.capabilities else (1,)


def within(logits: Logits, expected: Logits, tolerance: float, what: str) -> None:
    """Hold logits Float32[B, T, V] of a pass against the reference's.

    Raises:
        AssertionError: one is off by more than the bundle's tolerance, or is no number.
    """
    assert logits.shape == expected.shape, f"{what}: logits of shape {logits.shape}, expected {expected.shape}"
    off = np.abs(logits - expected).max(axis=2)
    wrong = ~(off <= tolerance)  # NaN too
    if wrong.any():
        row, token = np.argwhere(wrong)[0]
        raise AssertionError(
            f"{what}: logits of {int(wrong.sum())} of {wrong.size} tokens are off, the first in row {row}, token "
            f"{token}, by {off[row, token]:.3g}, expected at most {tolerance:g}"
        )


class Walk:
    """One model's sessions, one a batch size, which are fed the same; each pass is held against the reference's."""

    def __init__(self, subject: Subject, number: int, note: Note, batches: tuple[int, ...] = ()) -> None:
        """Begin with empty caches.

        Args:
            subject: The engine.
            number: Of the model.
            note: Takes the shapes met.
            batches: 1 without guidance, 2 with it; none is both.
        """
        pipeline, models = subject.pipeline, subject.models
        self.number, self.note = number, note
        self.entry = pipeline.bundle.manifest.models[number]
        self.tolerance = pipeline.bundle.manifest.graphs[self.entry.graph].tolerance
        condition: Condition = condition_of(models, PROMPTS[0], SEED)
        model_condition, null = engine_condition(condition), pipeline.bundle.null_conditions[number]
        batches = batches or guided_batches(subject)
        self.oracle = Oracle(
            models.transformer(number),
            condition.prefixes(models.transformer(number), 2.0 if max(batches) > 1 else 1.0),
            condition.places(),
        )
        self.sessions = [
            TransformerSession(
                pipeline.backend, self.entry, model_condition.prefixes(null, float(batch)), model_condition.places()
            )
            for batch in batches
        ]
        self.tokens = Tokens(subject, number, SEED)

    def prefill(self) -> None:
        """Feed the condition."""
        expected = self.oracle.prefill()
        for session in self.sessions:
            what = f"{self.entry.graph}, the prefill at batch {session.batch}"
            within(session.prefill().logits(), expected[: session.batch], self.tolerance, what)
            self.note(Shape(self.entry.graph, "prefills", f"{session.batch} x {self.entry.prefix_length}"))

    def feed(self, cells: Cells) -> None:
        """Feed tokens at cells, ascending."""
        tokens = self.tokens.of(cells)
        expected = self.oracle.feed(cells, tokens)
        self.tokens.saw(cells, expected[0])
        for session in self.sessions:
            batch, before = session.batch, session.slots.used
            dead = self._dead_slots(session) if not session.slots.has_room(cells + self.entry.prefix_length) else None
            logits, after = session.feed(cells, tokens).logits(), session.slots.used
            start = "written over in place" if after == before else f"into slots {after - len(cells)} to {after - 1}"
            if dead is not None:
                start += f" after a compaction of {before} slots, {dead} of them dead"
            what = f"{self.entry.graph}, a pass of {len(cells)} tokens at batch {batch}, {start}"
            within(logits, expected[:batch], self.tolerance, what)
            self.note(pass_shape(self.entry.graph, batch, len(cells)))
            if after != before and dead is None:
                self.note(Shape(self.entry.graph, "cache filled to", f"{after}"))
            if dead is not None:
                self.note(Shape(self.entry.graph, "compaction", "of a full cache"))
                if dead > 2 * BLOCK:
                    self.note(Shape(self.entry.graph, "compaction", f"by more than {2 * BLOCK} slots"))

    @staticmethod
    def _dead_slots(session: TransformerSession) -> int:
        """Return how many slots before the last living one are dead: so far it moves when the cache is compacted."""
        used = session.slots.ranks[: session.slots.used]
        living = np.flatnonzero(used != DEAD_RANK)
        return int(living[-1]) + 1 - len(living)


def long_passes(manifest: Manifest, entry: TransformerEntry, level: Level) -> list[Cells]:
    """Return passes of every length, the longest first: by turns of consecutive cells, and of cells here and there."""
    cells, random, passes = cells_of(entry), np.random.default_rng(entry.slots), []
    for index, fed in enumerate(reversed(pass_lengths(manifest, entry, level))):
        if index % 2:
            passes.append(np.sort(random.choice(cells, fed, replace=False)))
        else:
            passes.append(np.arange(fed) + random.integers(0, cells - fed + 1))
    # It sees what the others wrote.
    return [*passes, np.array([cells - 1])]


class _Filling:
    """Plans passes that fill a cache to given numbers of slots, each with new slots."""

    def __init__(self, entry: TransformerEntry, prefix_places: int, singles: int, reuse: bool) -> None:
        self.entry, cells = entry, cells_of(entry)
        self.table = SlotTable(entry.slots, entry.prefix_length + cells, reuse)
        self.table.place(np.arange(prefix_places))
        # Cells that have no slot yet, in their order. The last ones are left for passes of one token, which would be
        # written over in place else.
        self.fresh, self.kept = list(range(cells)), min(singles, cells // 2)
        self.random = np.random.default_rng(entry.slots)
        self.passes: list[Cells] = []

    def append(self, count: int) -> bool:
        """Plan passes that fill `count` slots more; return whether there are such."""
        while count > 0:
            chosen = self._with_new_slots(count)
            if chosen is None:
                return False
            self.passes.append(chosen)
            count -= len(chosen)
        return True

    def _with_new_slots(self, most: int) -> Cells | None:
        """Return cells for a pass of at most so many tokens, that leaves none or two for the next at least."""
        free, written = len(self.fresh) - self.kept, cells_of(self.entry) - len(self.fresh)
        if most == 1 or free > 1:
            candidates = [self.fresh[: max(1, min(most, free))]]
        else:
            fed = min(most, max(2, written // 2))
            fed -= 1 if most - fed == 1 and fed > 2 else 0
            candidates = [sorted(self.random.choice(written, fed, replace=False).tolist()) for _ in range(MAX_TRIES)]
        for candidate in candidates:
            cells = np.array(candidate, dtype=np.int64)
            trial = deepcopy(self.table)
            if not len(cells) or trial.used + len(cells) > len(trial.ranks):
                return None
            trial.place(cells + self.entry.prefix_length)
            if trial.used == self.table.used + len(cells):
                self.table = trial
                self.fresh = [cell for cell in self.fresh if cell not in candidate]
                return cells
        return None

    def overflow(self) -> None:
        """Plan passes till one does not fit, so that the cache is compacted."""
        for _ in range(MAX_TRIES):
            fed = int(self.random.integers(2, max(3, min(cells_of(self.entry), BLOCK))))
            cells = np.sort(self.random.choice(cells_of(self.entry), fed, replace=False))
            self.passes.append(cells)
            if not self.table.has_room(cells + self.entry.prefix_length):
                return
            self.table.place(cells + self.entry.prefix_length)


def filling_passes(entry: TransformerEntry, prefix_places: int, reuse: bool, level: Level) -> list[Cells]:
    """Return passes that fill a cache to one slot before each of its blocks, to it, and beyond, till it is compacted.

    Args:
        entry: The model.
        prefix_places: How many prefix tokens exist.
        reuse: Whether positions may keep their slots.
        level: How many blocks.
    """
    ends = blocks(entry, level)
    late = sum(end > entry.prefix_length + cells_of(entry) - 4 * BLOCK for end in ends)
    plan = _Filling(entry, prefix_places, 2 * late + 1, reuse)
    for end in ends:
        if plan.append(end - 1 - plan.table.used) and plan.append(1):
            plan.append(1)
    plan.append(entry.slots - plan.table.used)
    plan.overflow()
    # A block beyond the compacted ones, and again where it was written.
    block, last = np.arange(min(cells_of(entry), BLOCK + 1)), np.array([cells_of(entry) - 1])
    return [*plan.passes, last, block, block, last]
