"""Which shapes a bundle's loop asks its graphs for: what an engine must have met before it is trusted with the bundle.

They follow from the manifest alone: one token to a whole grid, one row to all of them, powers of two and their
neighbours (where kernels change their ways), the edges of plans' profiles, caches filled up to every block, and the
requests that share a pass. `Shape`s that a test has held against the reference stand in the report, and those that none
has.
"""

from collections.abc import Callable, Iterable
from enum import IntEnum
from itertools import combinations
from typing import Literal, NamedTuple

from hypothesis import settings

from mulo_sd.engines.bundle.entries import GraphEntry
from mulo_sd.engines.bundle.manifest import Manifest, TransformerEntry

Kind = Literal[
    "passes", "prefills", "cache filled to", "compaction", "shared passes", "rows", "neighbours", "grids", "conditions"
]
# Caches grow by multiples of it, in every backend that we know.
BLOCK = 64
# More requests than share a pass in a session by default are the same again.
MAX_REQUESTS = 8
# Of a shared pass: one token or few, and those of a sweep.
SHARED_TOKENS = (*range(1, 9), 16, 64)
MAX_SHARED_TOKENS = SHARED_TOKENS[-1]
# Of the logits of one pass on the host, so that a grid of thousands of cells and a vocabulary of 65,536 fits.
MAX_BYTES = 2**29


class Level(IntEnum):
    """How many of the shapes a run meets: the profile dev a few of each kind, ci many, nightly all."""

    FEW = 0
    MANY = 1
    ALL = 2


FEW, MANY, ALL = Level


class Shape(NamedTuple):
    """What one graph is asked for.

    Attributes:
        graph: Its name in the bundle.
        kind: What the numbers are of.
        value: The numbers, for people.
    """

    graph: str
    kind: Kind
    value: str


# Takes a shape that has been held against the reference.
Note = Callable[[Shape], None]


def level_of_profile() -> Level:
    """Return how many shapes the running Hypothesis profile is for."""
    match settings.get_current_profile_name():
        case "dev" | "few":
            return FEW
        case "ci":
            return MANY
        case _:
            return ALL


def lengths(most: int, level: Level = ALL, also: Iterable[int] = ()) -> list[int]:
    """Return numbers from 1 to `most`, ascending: powers of two, their neighbours, and what is given besides.

    Of the large ones, that cost the most, a level below ALL takes one beyond a power of two: it has a full block and a
    remainder.
    """
    numbers = {1, most, *also}
    if level == ALL:
        numbers.add(most - 1)
    for exponent in range(most.bit_length()):
        power = 2**exponent
        if level == ALL or (level == MANY and power <= 64):
            numbers.update((power - 1, power, power + 1))
        elif level == MANY or 4 <= power <= 256:
            numbers.add(power + 1)
    return sorted(number for number in numbers if 1 <= number <= most)


def profile_edges(graph: GraphEntry, name: str) -> set[int]:
    """Return where the profiles of a graph's plans end, and the numbers beside, of one dynamic dimension."""
    ends = [profile[name] for plan in graph.plans for profile in plan.profiles if name in profile]
    return {edge + by for low, _, high in ends for edge in (low, high) for by in (-1, 0, 1)}


def cells_of(entry: TransformerEntry) -> int:
    """Return how many cells a model's grid has."""
    return entry.grid_height * entry.grid_width


def longest_pass(entry: TransformerEntry) -> int:
    """Return the most tokens of a pass: a whole grid, or as many as leave room for their logits."""
    return max(1, min(cells_of(entry), MAX_BYTES // (8 * entry.vocabulary)))


def max_rows(entry: TransformerEntry) -> int:
    """Return the most rows that are sampled or judged at once: a whole grid, or as many as leave room for bounds."""
    return max(1, min(cells_of(entry), MAX_BYTES // (64 * entry.vocabulary)))


def pass_lengths(manifest: Manifest, entry: TransformerEntry, level: Level) -> list[int]:
    """Return how many tokens the passes of a model feed."""
    return lengths(longest_pass(entry), level, profile_edges(manifest.graphs[entry.graph], "fed"))


def row_counts(manifest: Manifest, graph: str, level: Level) -> list[int]:
    """Return of how many rows the sampler or the acceptance is asked at once."""
    return lengths(max_rows(manifest.target), level, profile_edges(manifest.graphs[graph], "rows"))


def neighbour_counts(manifest: Manifest, level: Level) -> list[int]:
    """Return over how many neighbours probability is pooled."""
    return lengths(manifest.max_neighbours, level, (2, 3))


def blocks(entry: TransformerEntry, level: Level) -> list[int]:
    """Return the numbers of slots at which a cache may grow, of every model of more than one block.

    FEW takes the first growth by 128, the second, the third and the last.
    """
    ends = list(range(BLOCK, entry.slots, BLOCK))
    if level == ALL:
        return ends
    large = [end for end in ends if end % (2 * BLOCK) == 0]
    return large if level == MANY else sorted({*large[:3], *large[-1:]})


def request_counts(level: Level) -> list[int]:
    """Return how many requests share passes."""
    return {FEW: [7], MANY: [2, 7], ALL: list(range(2, MAX_REQUESTS + 1))}[level]


def shared_lengths(max_shared: float, entry: TransformerEntry) -> list[int]:
    """Return how many tokens the requests of a shared pass feed, of a backend that shares passes up to some length."""
    return [fed for fed in SHARED_TOKENS if fed <= min(max_shared, longest_pass(entry))]


def scaled_rows(manifest: Manifest, number: int, draft_number: int, level: Level) -> list[int]:
    """Return from how many rows of a drafter the up-sampler makes rows: the known ones, more with every cycle."""
    rows = manifest.models[draft_number].grid_height
    return list(range(1, rows + 1)) if level == ALL else lengths(rows, MANY if level == MANY else FEW, (2, 3))


def pairs_of(manifest: Manifest, graph: str) -> list[tuple[int, int]]:
    """Return the models, finer and coarser, between which an up- or down-sampler of the manifest goes."""
    ratio = int(graph.split("_")[2])
    numbers = range(len(manifest.models))
    return [pair for pair in combinations(numbers, 2) if manifest.scale_ratio(*pair) == ratio]


def grid_shape(graph: str, rows: int, columns: int) -> Shape:
    """Return a grid that a graph is given."""
    return Shape(graph, "grids", f"{rows} x {columns}")


def pass_shape(graph: str, batch: int, fed: int) -> Shape:
    """Return a pass of so many rows and tokens."""
    return Shape(graph, "passes", f"{batch} x {fed}")


def _of_transformer(manifest: Manifest, entry: TransformerEntry, max_shared: float, level: Level) -> list[Shape]:
    graph, spare = entry.graph, entry.slots - entry.prefix_length - cells_of(entry)
    shapes = [Shape(graph, "prefills", f"{batch} x {entry.prefix_length}") for batch in (1, 2)]
    shapes += [pass_shape(graph, batch, fed) for fed in pass_lengths(manifest, entry, level) for batch in (1, 2)]
    for end in blocks(entry, level):
        shapes += [Shape(graph, "cache filled to", f"{end + by}") for by in (-1, 0, 1)]
    shapes.append(Shape(graph, "compaction", "of a full cache"))
    if spare > 2 * BLOCK:
        shapes.append(Shape(graph, "compaction", f"by more than {2 * BLOCK} slots"))
    for requests in request_counts(level):
        shapes += [shared_shape(graph, requests, fed) for fed in shared_lengths(max_shared, entry)]
    return [*shapes, *(Shape(entry.condition_graph, "conditions", f"{batch}") for batch in (1, 2))]


def shared_shape(graph: str, requests: int, fed: int) -> Shape:
    """Return a pass that requests share, of so many tokens at most."""
    return Shape(graph, "shared passes", f"{requests} x {fed}")


def row_shape(graph: str, batch: int, rows: int) -> Shape:
    """Return rows that are sampled or judged at once, of logits with (2) or without (1) an unconditional half."""
    return Shape(graph, "rows", f"{batch} x {rows}")


def due_shapes(manifest: Manifest, max_shared: float = MAX_SHARED_TOKENS, level: Level = ALL) -> list[Shape]:
    """Return every shape that a bundle's loop may ask for, or of those what a level is for.

    Args:
        manifest: The bundle's.
        max_shared: Tokens of the longest pass that requests share; 0 where the backend shares none.
        level: How many.
    """
    shapes: list[Shape] = []
    for entry in manifest.models:
        shapes += _of_transformer(manifest, entry, max_shared, level)
    for graph in ("sampler", "acceptance"):
        shapes += [row_shape(graph, batch, rows) for rows in row_counts(manifest, graph, level) for batch in (1, 2)]
    shapes += [Shape("acceptance", "neighbours", f"{count}") for count in neighbour_counts(manifest, level)]
    for graph in manifest.graphs:
        if graph.startswith(("up_sampler", "down_sampler")):
            for number, draft_number in pairs_of(manifest, graph):
                low, ratio = manifest.models[draft_number], manifest.scale_ratio(number, draft_number)
                factor = 1 if graph.startswith("up") else ratio
                rows = scaled_rows(manifest, number, draft_number, level)
                shapes += [grid_shape(graph, factor * count, factor * low.grid_width) for count in rows]
    shapes.append(grid_shape("decoder", manifest.target.grid_height, manifest.target.grid_width))
    return list(dict.fromkeys(shapes))


def by_kind(due: Iterable[Shape], met: Iterable[Shape]) -> dict[str, dict[str, dict[str, list[str]]]]:
    """Return what was met and what never, by graph and kind, for a report."""
    done, graph_to_kinds = set(met), dict[str, dict[str, dict[str, list[str]]]]()
    for shape in due:
        values = graph_to_kinds.setdefault(shape.graph, {}).setdefault(shape.kind, {"met": [], "never": []})
        values["met" if shape in done else "never"].append(shape.value)
    return graph_to_kinds
