"""Images a second by how many are drawn at once."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mulo_sd.conformance.bench.modes import BenchMode
from mulo_sd.conformance.bench.replay import Replay
from mulo_sd.conformance.bench.workload import Drawing
from mulo_sd.engines.service.pipeline import Pipeline

SIZES, QUICK_SIZES = (1, 2, 4, 8), (1, 4)


@dataclass(frozen=True)
class ThroughputRow:
    """One mode, `size` images at a time.

    Attributes:
        label: The mode's.
        size: Images at once.
        images: How many were drawn.
        seconds: In which.
        passes: That were run, of all models; fewer than the images' own where some were shared.
        own_passes: The images' own.
        over_one: Images a second, over those of one at a time.
    """

    label: str
    size: int
    images: int
    seconds: float
    passes: int
    own_passes: int
    over_one: float

    @property
    def per_second(self) -> float:
        return self.images / self.seconds

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers."""
        return vars(self) | {"per_second": self.per_second}


def throughput(
    pipeline: Pipeline,
    mode: BenchMode,
    drawings: list[Drawing],
    sizes: Sequence[int] = SIZES,
    replay: Callable[[int], Replay | None] = lambda number: None,
    rounds: int = 1,
    warm_up: bool = False,
) -> Iterator[ThroughputRow]:
    """Draw the same images in sessions of every size, one size after the other, some rounds; the best one counts.

    Args:
        pipeline: Draws.
        mode: Its settings.
        drawings: As many as the largest size, or a multiple.
        sizes: The first of them is what the others are compared with.
        replay: Of a drawing's number, the acceptances that are replayed; None for what verification finds.
        rounds: That count.
        warm_up: Make one more before them.
    """
    best: dict[int, tuple[float, int, int]] = {}
    conditions = [drawing.condition_of(pipeline) for drawing in drawings]
    for number_of_round in range(rounds + warm_up):
        for size in sizes:
            started = time.perf_counter()
            with pipeline.session(size, queue=len(drawings)) as session:
                requests = [
                    session.submit(condition, drawing.seed, accepted=replay(number), **mode.changes)
                    for number, (condition, drawing) in enumerate(zip(conditions, drawings, strict=True))
                ]
                results = [request.result() for request in requests]
                passes = session.passes
            seconds = time.perf_counter() - started
            own = sum(len(result.trace.passes) for result in results)
            if number_of_round >= warm_up and (size not in best or seconds < best[size][0]):
                best[size] = seconds, passes, own
    alone = best[sizes[0]][0]
    for size, (seconds, passes, own) in best.items():
        yield ThroughputRow(mode.label, size, len(drawings), seconds, passes, own, alone / seconds)
