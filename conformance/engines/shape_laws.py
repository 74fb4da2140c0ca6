"""Laws of single graphs, each over the shapes that a bundle's loop asks for (`shapes`)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mulo_sd.conformance.engines import shape_grids, shape_sharing
from mulo_sd.conformance.engines.cases import PROMPTS, SEED
from mulo_sd.conformance.engines.conditions import condition_of, engine_condition
from mulo_sd.conformance.engines.shape_rows import (
    VARIANTS,
    Rows,
    hold_judgements,
    hold_log_probs,
    hold_samples,
    rows_of,
)
from mulo_sd.conformance.engines.shape_walk import Walk, filling_passes, guided_batches, long_passes
from mulo_sd.conformance.engines.shapes import (
    Kind,
    Level,
    Note,
    Shape,
    max_rows,
    neighbour_counts,
    row_counts,
    row_shape,
)
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.backends.base import Scores
from mulo_sd.engines.backends.host_scores import distribution_inputs
from mulo_sd.engines.passes.transformer import TransformerSession
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource, sample_stream
from mulo_sd.engines.settings import Settings
from mulo_sd.reference.noise import gumbel_noise

GUIDANCE = 1.5
ANCHOR = 4.0


def long_passes_are_right(subject: Subject, level: Level, note: Note) -> None:
    """CONF-1, KV-1, GRID-2: a pass of any length gives the model's logits, without guidance and with it."""
    manifest = subject.pipeline.bundle.manifest
    for number, entry in enumerate(manifest.models):
        walk = Walk(subject, number, note)
        walk.prefill()
        for cells in long_passes(manifest, entry, level):
            walk.feed(cells)


def caches_grow(subject: Subject, level: Level, note: Note) -> None:
    """CONF-1, KV-1, KV-2: a cache keeps what it holds where it grows, is filled to its last slot and is compacted."""
    for number, entry in enumerate(subject.pipeline.bundle.manifest.models):
        walk = Walk(subject, number, note)
        walk.prefill()
        for session in walk.sessions[:1]:
            for cells in filling_passes(entry, len(session.places), session.slots.reuse, level):
                walk.feed(cells)


def conditions_become_prefixes(subject: Subject, level: Level, note: Note) -> None:
    """PREFILL: the condition's graph gives the model's embeddings, for one row and for two."""
    pipeline, models = subject.pipeline, subject.models
    condition = condition_of(models, PROMPTS[0], SEED)
    for number, entry in enumerate(pipeline.bundle.manifest.models):
        model, tolerance = models.transformer(number), pipeline.bundle.manifest.graphs[entry.condition_graph].tolerance
        for batch in guided_batches(subject):
            with torch.inference_mode():
                expected = model.prefix_embeddings(condition.prefixes(model, float(batch))).numpy()
            rows = engine_condition(condition).prefixes(pipeline.bundle.null_conditions[number], float(batch))
            prefix = pipeline.backend.run(entry.condition_graph, {"condition": rows})["prefix"]
            assert prefix.shape == expected.shape, f"{entry.condition_graph}: {prefix.shape}, expected {expected.shape}"
            off = float(np.abs(prefix - expected).max()) / max(1.0, float(np.abs(expected).max()))
            assert off <= tolerance, (
                f"{entry.condition_graph} at batch {batch}: off by {off:.3g}, expected at most {tolerance:g}"
            )
            note(Shape(entry.condition_graph, "conditions", f"{batch}"))


class _Scored:
    """The logits of one pass over a whole grid of the target, and what is known of them under each of VARIANTS."""

    def __init__(self, subject: Subject, batch: int) -> None:
        pipeline, entry = subject.pipeline, subject.pipeline.bundle.manifest.target
        self.subject, self.entry, self.batch = subject, entry, batch
        model_condition = engine_condition(condition_of(subject.models, PROMPTS[0], SEED))
        prefixes = model_condition.prefixes(pipeline.bundle.null_conditions[0], float(batch))
        self.session = TransformerSession(pipeline.backend, entry, prefixes, model_condition.places())
        self.session.prefill()
        self.count, self.random = max_rows(entry), np.random.default_rng(batch)
        tokens = self.random.integers(0, entry.vocabulary, self.count)
        self.scores: Scores = self.session.feed(np.arange(self.count), tokens)
        self.logits = self.scores.logits().copy()
        self.source = NoiseSource(SEED, sample_stream(0), self.count + 1, entry.vocabulary)
        cells = list(range(self.count + 1))
        self.noise: NDArray[np.float32] = gumbel_noise(SEED, sample_stream(0), cells, entry.vocabulary).numpy()
        self.known: dict[tuple[int, bool], Rows] = {}

    def settings(self, variant: int) -> Settings:
        """Return the bundle's settings with one of VARIANTS."""
        scale = GUIDANCE if self.batch == 2 else 1.0
        return self.subject.pipeline.settings(guidance_scale=scale, **VARIANTS[variant])

    def rows(self, variant: int, raw: bool = False) -> Rows:
        """Return what is known of all rows, computed once."""
        if (variant, raw) not in self.known:
            self.known[variant, raw] = rows_of(self.logits, self.settings(variant), raw)
        return self.known[variant, raw]

    def some(self, count: int, together: bool) -> NDArray[np.int64]:
        """Return rows, ascending: consecutive ones anywhere, or here and there."""
        if together:
            return np.arange(count) + self.random.integers(0, self.count - count + 1)
        return np.sort(self.random.choice(self.count, count, replace=False))


def rows_are_sampled(subject: Subject, level: Level, note: Note) -> None:
    """DIST-1, RNG-1, ANCHOR-1, CONF-2: any number of rows is sampled, each by its own logits, noise and anchor."""
    pipeline = subject.pipeline
    for batch in guided_batches(subject):
        scored = _Scored(subject, batch)
        codes = pipeline.bundle.codes
        draft = scored.random.integers(0, len(codes), scored.count + 1)
        anchor = Anchor(ANCHOR, codes, draft, 0)
        for index, count in enumerate(row_counts(pipeline.bundle.manifest, "sampler", level)):
            rows, variant = scored.some(count, together=index % 2 == 0), index % len(VARIANTS)
            distribution, known = scored.settings(variant).distribution, scored.rows(variant).of(rows)
            noise = scored.noise[rows + 1]  # what follows a cell is the next cell's
            what = f"{count} rows at batch {batch}, {dict(VARIANTS[variant])}"
            tokens, log_probs = scored.scores.draw(rows, distribution, noise)
            hold_samples(known, noise, tokens, f"drawing from {what}")
            hold_log_probs(known, log_probs, f"drawing from {what}")
            inputs = distribution_inputs(np.ascontiguousarray(scored.logits[:, rows]), distribution) | {"noise": noise}
            outputs = pipeline.backend.run("sampler", inputs)
            hold_samples(known, noise, outputs["tokens"], f"the sampler with {what}")
            hold_log_probs(known, outputs["log_probs"], f"the sampler with {what}")
            tokens = scored.scores.sample(rows, rows + 1, distribution, scored.source, None)
            hold_samples(known, noise, tokens, f"sampling {what}")
            tokens = scored.scores.sample(rows, rows + 1, distribution, scored.source, anchor)
            bonus = ANCHOR * (codes[draft[rows + 1]].astype(np.float64) @ codes.T.astype(np.float64))
            hold_samples(known, noise + bonus, tokens, f"sampling {what}, anchored")
            note(row_shape("sampler", batch, count))


def rows_are_judged(subject: Subject, level: Level, note: Note) -> None:
    """POOL-1, DIST-2, LOCAL-3, CONF-2: any number of draft tokens is judged, over any number of neighbours."""
    pipeline, manifest = subject.pipeline, subject.pipeline.bundle.manifest
    counts = row_counts(manifest, "acceptance", level)
    near_counts = neighbour_counts(manifest, level)
    middle = next((count for count in counts if count > 16), counts[-1])
    for batch in guided_batches(subject):
        scored = _Scored(subject, batch)
        shapes = [(count, near_counts[index % len(near_counts)]) for index, count in enumerate(counts)]
        for index, (count, near_count) in enumerate([*shapes, *((middle, count) for count in near_counts)]):
            rows, variant = scored.some(count, together=index % 2 == 0), index % len(VARIANTS)
            raw, distribution = index % 3 == 2, scored.settings(variant).distribution
            distribution = distribution.raw() if raw else distribution
            # Likely tokens, whose neighbourhoods have some probability, and any.
            likely = scored.logits[0, rows].argmax(axis=1)
            draft = np.where(
                scored.random.random(count) < 0.7, likely, scored.random.integers(0, scored.entry.vocabulary, count)
            )
            near = np.ascontiguousarray(pipeline.bundle.neighbours[:, :near_count])
            what = (
                f"{count} rows at batch {batch}, {near_count} neighbours, {'raw' if raw else dict(VARIANTS[variant])}"
            )
            known = scored.rows(variant, raw).of(rows)
            judgement = scored.scores.judge(rows, distribution, draft, near)
            hold_judgements(known, near[draft], judgement.pooled_probs, judgement.entropies, f"judging {what}")
            inputs = distribution_inputs(np.ascontiguousarray(scored.logits[:, rows]), distribution)
            outputs = pipeline.backend.run("acceptance", inputs | {"draft_tokens": draft, "neighbours": near})
            hold_judgements(
                known, near[draft], outputs["pooled_probs"], outputs["entropies"], f"acceptance with {what}"
            )
            note(row_shape("acceptance", batch, count))
            note(Shape("acceptance", "neighbours", f"{near_count}"))


class ShapeLaw(NamedTuple):
    """A law of single graphs.

    Attributes:
        stage: What of an engine it looks at.
        rules: Those that it speaks for.
        law: Raises AssertionError where an engine breaks them.
        meets: Of which kinds of shapes it meets those that a level is for.
        graphs: Of which graphs; the beginnings of their names.
    """

    stage: str
    rules: tuple[str, ...]
    law: Callable[[Subject, Level, Note], None]
    meets: tuple[Kind, ...]
    graphs: tuple[str, ...] = ("target", "drafter")

    def is_for(self, shape: Shape) -> bool:
        """Return whether the law meets a shape."""
        return shape.kind in self.meets and shape.graph.startswith(self.graphs)


SHAPE_LAWS = (
    ShapeLaw("condition", ("PREFILL",), conditions_become_prefixes, ("conditions",)),
    ShapeLaw(
        "up- and down-sampling",
        ("SCALE-1", "SCALE-2", "CONF-2"),
        shape_grids.grids_are_scaled,
        ("grids",),
        ("up_sampler", "down_sampler"),
    ),
    ShapeLaw("image", ("CONF-2",), shape_grids.grids_are_decoded, ("grids",), ("decoder",)),
    ShapeLaw("logits", ("CONF-1", "KV-1", "GRID-2"), long_passes_are_right, ("passes", "prefills")),
    ShapeLaw("KV state", ("CONF-1", "KV-1", "KV-2"), caches_grow, ("cache filled to", "compaction")),
    ShapeLaw("shared passes", ("CONF-5", "KV-1", "RNG-1"), shape_sharing.shared_passes_are_right, ("shared passes",)),
    ShapeLaw("sampled tokens", ("DIST-1", "RNG-1", "ANCHOR-1", "CONF-2"), rows_are_sampled, ("rows",), ("sampler",)),
    ShapeLaw(
        "pooled probabilities",
        ("POOL-1", "DIST-2", "LOCAL-3", "CONF-2"),
        rows_are_judged,
        ("rows", "neighbours"),
        ("acceptance",),
    ),
)
