"""python -m conformance.tools.soak_service: thousands of requests, many of them bad, late or hung up, and a count.

Every image that comes back is held against the direct API's. Of the same image several ask at once or one after the
other; it may be drawn once. The service is killed now and then and started again; requests that were on their way are
asked again, as clients do. Its memory is read between the kills. All on loopback, bounded in count and time.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from mulo_sd import engines
from mulo_sd.conformance.tools.serving.client import Answer, Connection
from mulo_sd.conformance.tools.serving.expected import Expected
from mulo_sd.conformance.tools.serving.served import Served, bundle_argument, metric
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.numbers import whole_number

PROMPTS = ("a red star", "two green circles", "a blue cross left of a pink square")
MODES = ("parallel", "ar", "zipar", "exact")
AT_ONCE = 8
# What is kept has to fill up before memory can be compared: little of it, soon full.
ARGUMENTS = ("--size", "4", "--queue", "64", "--threads", "1", "--keep-mb", "1", "--keep-seconds", "30")
# Memory is read after each batch. It grows while threads, pools and the allocator's heaps fill, for thousands of
# requests, so that the last batches are compared with those before the last fifteen.
BATCH = 100
LAST_BATCHES = 15
# Of a service that is killed; the last one lives for all that is left.
SHORT_LIFE = 200

BAD = (
    (b"{", 400),
    ({"prompt": "nonsense"}, 400),
    ({"prompt": "a red star", "tau": "x"}, 400),
    ({"prompt": "a red star", "model": "other"}, 404),
    ({"prompt": "a red star", "size": "9x9"}, 400),
    ({"prompt": "x" * 10_000}, 400),
)


@dataclass
class Counts:
    """What happened.

    Attributes:
        outcomes: Of requests, by name.
        drawn: Images that the services drew, as they counted themselves.
        distinct: Images that were asked for, each once for every life of the service that drew it.
        wrong: Answers that are not what they should be, one line each.
        growth: Of memory over the last 1,500 requests; none where no service lived for twice as many.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    drawn: int = 0
    distinct: int = 0
    wrong: list[str] = field(default_factory=list)
    growth: list[float] = field(default_factory=list)


class Soak:
    """One service after the other, and clients that ask them."""

    def __init__(self, bundle: Path, requests: int, kills: int, seed: int) -> None:
        """Prepare.

        Args:
            bundle: That is served.
            requests: To make.
            kills: Of the service, spread over them.
            seed: Of what is asked when.
        """
        self.requests, self.kills = requests, kills
        self.arguments = (*bundle_argument("minimal", bundle), *bundle_argument("hung-up", bundle), *ARGUMENTS)
        self.chance, self.counts, self.expected = random.Random(seed), Counts(), Expected(bundle)
        self.seed, self.completed, self.lives = 0, set[int](), 0

    def run(self) -> Counts:
        """Make all requests."""
        short = min(SHORT_LIFE, self.requests // (self.kills + 1))
        for requests in [short] * self.kills + [self.requests - short * self.kills]:
            self.lives += 1
            with Served(*self.arguments) as served:
                asyncio.run(self._life(served, requests, killed=self.lives <= self.kills))
        return self.counts

    async def _life(self, served: Served, requests: int, killed: bool) -> None:
        self.completed = set()
        resident: list[int] = []
        for begun in range(0, requests, BATCH):
            await self._batch(served, min(BATCH, requests - begun))
            resident.append(resident_bytes(served.process.pid))
            print(f"{sum(self.counts.outcomes.values())} requests, {resident[-1] / 2**20:.1f} MiB", file=sys.stderr)
        self._count(served)
        if len(resident) >= 2 * LAST_BATCHES:
            before = resident[-LAST_BATCHES - 3 : -LAST_BATCHES]
            self.counts.growth.append(median(resident[-3:]) / median(before) - 1)
        if killed:
            await self._kill(served)

    def _count(self, served: Served) -> None:
        """Hold what the service counted against what it was asked for."""
        ends_at = time.monotonic() + 5
        while any(metric(served, "mulo_sd_places_in_use").values()):
            if time.monotonic() > ends_at:
                self.counts.wrong.append("a place is in use after all requests ended")
                break
            time.sleep(0.01)
        self.counts.drawn += int(metric(served, "mulo_sd_images_total")["minimal"])
        self.counts.distinct += len(self.completed)

    async def _batch(self, served: Served, requests: int) -> None:
        left = iter(range(requests))

        async def client() -> None:
            connection = Connection(served.url)
            for _ in left:
                connection = await self._request(served, connection)
            connection.close()

        await asyncio.gather(*(client() for _ in range(AT_ONCE)))

    async def _request(self, served: Served, connection: Connection) -> Connection:
        """Make one request of a kind by chance; return a connection for the next.

        Those that nobody waits for to the end are of a model of their own: some images may be finished all the same.
        """
        kind = self.chance.choices(("good", "same", "stream", "gone", "bad", "late"), (8, 3, 3, 4, 2, 1))[0]
        self.counts.outcomes[kind] += 1
        if kind == "bad":
            content, status = self.chance.choice(BAD)
            self._hold(await connection.ask(content), status, kind)
        elif kind == "late":
            self._hold(await connection.ask(self._order(deadline=1e-3, model="hung-up")), 504, kind)
        elif kind == "gone":
            order = self._order(n=10, model="hung-up") | {"mode": "eagle"}
            asking = asyncio.create_task(connection.ask(order))
            await asyncio.sleep(self.chance.random() * 0.05)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            connection.close()
        else:
            order = self._order() | ({"stream": True} if kind == "stream" else {})
            times = 3 if kind == "same" else 1
            others = [Connection(served.url) for _ in range(times - 1)]
            answers = await asyncio.gather(*(each.ask(order) for each in (connection, *others)))
            for answer in answers:
                self._hold_image(order, answer)
            for other in others:
                other.close()
        return connection

    def _order(self, **fields: Any) -> dict[str, Any]:
        self.seed += 1
        mode, prompt = MODES[self.seed % len(MODES)], PROMPTS[self.seed % len(PROMPTS)]
        return {"prompt": prompt, "seed": self.seed, "mode": mode, "sweep_width": 4, **fields}

    def _hold(self, answer: Answer, status: int, kind: str) -> None:
        """Hold a refusal against what it should be."""
        if answer.status != status or set(answer.content) != {"error"}:
            self.counts.wrong.append(f"{kind}: expected {status}, got {answer.status}: {answer.body[:200]!r}")

    def _hold_image(self, order: dict[str, Any], answer: Answer) -> None:
        """Hold an image against the direct API's."""
        if answer.status != 200:
            self.counts.wrong.append(f"{order}: expected 200, got {answer.status}: {answer.body[:200]!r}")
            return
        self.completed.add(order["seed"])
        if order.get("stream"):
            content = json.loads(answer.body.decode().strip().rpartition("data: ")[2])
        else:
            content = answer.content["data"][0]
        if "b64_json" not in content or not self.expected.is_right(order, content):
            self.counts.wrong.append(f"{order}: another image than the direct API's")

    async def _kill(self, served: Served) -> None:
        """Kill the service while it draws; the same orders, asked of the next one, are the same images."""
        orders = [self._order() for _ in range(AT_ONCE)]
        connections = [Connection(served.url) for _ in orders]
        asking = [
            asyncio.create_task(connection.ask(order)) for connection, order in zip(connections, orders, strict=True)
        ]
        await asyncio.sleep(0.02)
        served.process.kill()
        served.process.wait()
        lost = [order for order, answer in zip(orders, await _ended(asking), strict=True) if answer is None]
        for connection in connections:
            connection.close()
        with Served(*self.arguments) as other:
            for order in lost:
                connection = Connection(other.url)
                self._hold_image(order, await connection.ask(order))
                connection.close()
        self.counts.outcomes["asked again after a kill"] += len(lost)


async def _ended(asking: "list[asyncio.Task[Answer]]") -> list[Answer | None]:
    answers = await asyncio.gather(*asking, return_exceptions=True)
    return [None if isinstance(answer, BaseException) else answer for answer in answers]


def resident_bytes(process: int) -> int:
    """Return the memory that a process holds, on Linux."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


@command
def main() -> int:
    """Soak; print the counts as JSON.

    Returns:
        0; 1 where an answer was wrong, an image was drawn twice or lost, or memory grew by 1% or more.
    """
    parser = command_parser("conformance.tools.soak_service", __doc__)
    parser.add_argument("--bundle", type=user_path, required=True, help="the minimal preset")
    parser.add_argument("--requests", type=int, default=5000, help="default: %(default)s")
    parser.add_argument("--kills", type=int, default=4, help="of the service; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of what is asked when; default: %(default)s")
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        requests = whole_number("--requests", arguments.requests, 1, 10**6)
        kills = whole_number("--kills", arguments.kills, 0, 100)
        counts = Soak(arguments.bundle, requests, kills, arguments.seed).run()
    except (engines.BundleError, engines.SettingsError) as error:
        parser.error(str(error))
    report = {
        "requests": dict(counts.outcomes),
        "images_drawn": counts.drawn,
        "distinct_images": counts.distinct,
        "memory_growth": counts.growth,
        "wrong": counts.wrong[:20],
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(report, indent=1))
    grew = any(growth >= 0.01 for growth in counts.growth)
    return int(bool(counts.wrong) or counts.drawn != counts.distinct or grew)


if __name__ == "__main__":
    sys.exit(main())
