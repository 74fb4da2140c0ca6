"""python -m conformance.tools.measure_service: what the service costs beside the session that draws in it.

Everything is on loopback and on this machine, the client's own work included; docs/serving.md has the figures.
"""

import asyncio
import json
import math
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mulo_sd import engines
from mulo_sd.conformance.tools.serving.client import Answer, Connection
from mulo_sd.conformance.tools.serving.served import Served, bundle_argument
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.numbers import whole_number

PROMPTS = ("a red circle left of a blue square", "two green stars", "a pink diamond above a yellow circle", "a star")
MODEL = "measured"


class Orders:
    """Requests for images that nobody has drawn yet: every one has a seed of its own."""

    def __init__(self, first: int = 0) -> None:
        self.seed = first

    def next(self, **fields: Any) -> dict[str, Any]:
        """Return another one."""
        self.seed += 1
        return {"prompt": PROMPTS[self.seed % len(PROMPTS)], "seed": self.seed, **fields}


def share(values: Sequence[float], part: float) -> float:
    """Return the value below which a part of them lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(part * len(ordered)) - 1)]


def checked(answer: Answer) -> Answer:
    """Return an answer that has an image.

    Raises:
        RuntimeError: it has none.
    """
    if answer.status != 200:
        raise RuntimeError(f"status {answer.status}: {answer.body[:200]!r}")
    return answer


async def one_by_one(url: str, count: int, orders: Orders, **fields: Any) -> list[Answer]:
    """Ask for images one after the other, over one connection."""
    connection = Connection(url)
    answers = [checked(await connection.ask(orders.next(**fields))) for _ in range(count)]
    connection.close()
    return answers


async def clients(url: str, count: int, at_once: int, orders: Orders) -> tuple[float, list[float]]:
    """Keep so many requests open until `count` are answered; return images a second, and the seconds of each."""
    seconds: list[float] = []

    async def client(own: int) -> None:
        connection = Connection(url)
        for _ in range(own):
            seconds.append(checked(await connection.ask(orders.next())).seconds)
        connection.close()

    started = time.perf_counter()
    await asyncio.gather(*(client(count // at_once) for _ in range(at_once)))
    return len(seconds) / (time.perf_counter() - started), seconds


async def arrivals(url: str, count: int, rate: float, orders: Orders) -> list[float]:
    """Ask at random times, `rate` a second on average, whether or not others are answered; return the seconds."""
    chance = random.Random(0)
    tasks = []

    async def one() -> float:
        connection = Connection(url)
        answer = checked(await connection.ask(orders.next()))
        connection.close()
        return answer.seconds

    for _ in range(count):
        tasks.append(asyncio.create_task(one()))
        await asyncio.sleep(chance.expovariate(rate))
    return await asyncio.gather(*tasks)


def session_alone(pipeline: engines.Pipeline, count: int, size: int, orders: Orders) -> float:
    """Draw in a session of this process, `size` at once; return images a second."""
    started = time.perf_counter()
    with pipeline.session(size, queue=count) as session:
        requests = [session.submit(**orders.next()) for _ in range(count)]
        for request in requests:
            request.result()
    return count / (time.perf_counter() - started)


def session_beside(pipeline: engines.Pipeline, count: int, orders: Orders) -> list[float]:
    """Draw one after the other in a session; return the seconds of each beside its decode: describing, waiting."""
    beside = []
    with pipeline.session(1) as session:
        for _ in range(count):
            started = time.perf_counter()
            result = session.submit(**orders.next()).result()
            beside.append(time.perf_counter() - started - result.stats.seconds)
    return beside


def measure(bundle: Path, count: int, size: int, threads: int | None, rounds: int) -> dict[str, Any]:
    """Measure a bundle; return figures by name, seconds in milliseconds."""
    pipeline, orders = engines.load(bundle, threads=threads), Orders()
    pipeline.generate(**orders.next())
    arguments = [*bundle_argument(MODEL, bundle), "--size", str(size), "--queue", str(count)]
    with Served(*arguments, *(["--threads", str(threads)] if threads else [])) as served:
        asyncio.run(one_by_one(served.url, 4, orders))
        figures: dict[str, Any] = {"images": count, "size": size, "rounds": rounds}
        alone, service, ratios = [], [], []
        closed: list[float] = []
        for _ in range(rounds):
            alone.append(session_alone(pipeline, count, size, orders))
            rate, seconds = asyncio.run(clients(served.url, count, 2 * size, orders))
            service.append(rate)
            closed += seconds
            ratios.append(rate / alone[-1])
        figures |= {"images_a_second": service, "session_alone": alone, "throughput": share(ratios, 0.5)}
        single = asyncio.run(one_by_one(served.url, count, orders))
        beside = [answer.seconds - answer.content["mulo_sd"]["seconds"] for answer in single]
        figures["beside_decode_ms"] = _parts(beside)
        figures["session_beside_decode_ms"] = _parts(session_beside(pipeline, count, orders))
        medians = (figures[name]["p50"] for name in ("beside_decode_ms", "session_beside_decode_ms"))
        figures["overhead_ms"] = round(next(medians) - next(medians), 2)
        figures["one_at_a_time_ms"] = _parts([answer.seconds for answer in single])
        half = asyncio.run(arrivals(served.url, count, share(service, 0.5) / 2, orders))
        figures["half_load_ms"], figures["full_load_ms"] = _parts(half), _parts(closed)
        streams = asyncio.run(one_by_one(served.url, count, orders, stream=True, partial_images=1))
        figures["first_partial_ms"] = _parts([answer.first_seconds for answer in streams])
        figures["streamed_ms"] = _parts([answer.seconds for answer in streams])
    return figures


def _parts(seconds: Sequence[float]) -> dict[str, float]:
    return {name: round(1000 * share(seconds, part), 2) for name, part in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}


@command
def main() -> int:
    """Measure and print JSON."""
    parser = command_parser("conformance.tools.measure_service", __doc__)
    parser.add_argument("--bundle", type=user_path, required=True, help="that is served")
    parser.add_argument("--images", type=int, default=60, help="of each figure; default: %(default)s")
    parser.add_argument("--size", type=int, default=4, help="images at once; default: %(default)s")
    parser.add_argument("--threads", type=int, help="of a pass; default: the runtime's choice")
    parser.add_argument("--rounds", type=int, default=3, help="of throughput, in turns; default: %(default)s")
    arguments = parser.parse_args()
    try:
        images, rounds = (
            whole_number(f"--{name}", getattr(arguments, name), 1, 10_000) for name in ("images", "rounds")
        )
        figures = measure(arguments.bundle, images, arguments.size, arguments.threads, rounds)
    except (engines.BundleError, engines.SettingsError) as error:
        parser.error(str(error))
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
