"""python -m conformance.tools.soak_cluster: engine replicas killed under load, and an update, with every image checked.

Needs the extra `ray`. Every image is held against the direct API's. What counts: requests that are lost, images that
are drawn twice, and how long it takes until all is as before. All on loopback, bounded in count and time.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mulo_sd import engines
from mulo_sd.conformance.tools.measure_service import share
from mulo_sd.conformance.tools.serving.client import Answer, Connection
from mulo_sd.conformance.tools.serving.expected import Expected
from mulo_sd.conformance.tools.serving.head import Head
from mulo_sd.conformance.tools.serving.replicas import descendants, engine_replicas, is_alive
from mulo_sd.conformance.tools.serving.served import Served, bundle_argument, metric
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.numbers import whole_number

PROMPT, MODEL, APP = "a red circle left of a blue square", "soaked", "mulo-sd"
AT_ONCE = 6
REPLICAS = 2
# A replica that is killed while the last one is still away would only make the load smaller.
KILL_SECONDS = 3.0
WAIT_SECONDS = 60.0


@dataclass
class Counts:
    """What happened.

    Attributes:
        statuses: Of answers, by number; "lost" is a connection that ended without one.
        seconds: Of requests, from asking to the last byte.
        wrong: Answers that are not what they should be, one line each.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Load:
    """Clients that keep some requests open, each for an image of its own, a third of them streamed."""

    def __init__(self, url: str, expected: Expected, seeds: Iterator[int]) -> None:
        """Name the service."""
        self.url, self.expected, self.seeds, self.counts = url, expected, seeds, Counts()

    async def run(self, requests: int) -> None:
        """Make so many requests."""
        left = iter(range(requests))
        await asyncio.gather(*(self._client(left) for _ in range(AT_ONCE)))

    async def _client(self, left: Iterator[int]) -> None:
        connection = Connection(self.url)
        for _ in left:
            order: dict[str, Any] = {"prompt": PROMPT, "seed": next(self.seeds)}
            asked = order | ({"stream": True, "partial_images": 1} if order["seed"] % 3 == 0 else {})
            try:
                answer = await connection.ask(asked)
            except (OSError, EOFError, TimeoutError) as error:
                self.counts.statuses["lost"] += 1
                self.counts.wrong.append(f"{asked}: {error!r:.100}")
                connection.close()
                connection = Connection(self.url)
                continue
            self._hold(order, answer)
        connection.close()

    def _hold(self, order: dict[str, Any], answer: Answer) -> None:
        self.counts.statuses[str(answer.status)] += 1
        self.counts.seconds.append(answer.seconds)
        if answer.status != 200 or not self.expected.is_right(order, image_content(answer)):
            self.counts.wrong.append(f"{order}: {answer.status} {answer.body[:200]!r}")


def image_content(answer: Answer) -> dict[str, Any]:
    """Return what holds the image of an answer, or of the last event of a stream."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        content: dict[str, Any] = json.loads(answer.body.decode().strip().rpartition("data: ")[2])
        return content
    last: dict[str, Any] = answer.content["data"][0]
    return last


def killed_under_load(
    bundle: Path, expected: Expected, requests: int, kills: int, chance: random.Random
) -> dict[str, Any]:
    """Kill engine replicas with SIGKILL while requests are on their way; return figures."""
    seeds = iter(range(10**6))
    with Served(*bundle_argument(MODEL, bundle), "--ray", "--replicas", str(REPLICAS), "--size", "2") as served:
        driver = served.process.pid
        wait_for_replicas(driver, REPLICAS)
        load, recoveries = Load(served.url, expected, seeds), []

        async def kill() -> None:
            for _ in range(kills):
                await asyncio.sleep(chance.random() * KILL_SECONDS)
                victim = chance.choice(engine_replicas(driver))
                os.kill(victim, signal.SIGKILL)
                killed_at = time.monotonic()
                while len(await asyncio.to_thread(engine_replicas, driver)) < REPLICAS or is_alive(victim):
                    await asyncio.sleep(0.05)
                recoveries.append(time.monotonic() - killed_at)

        async def both() -> None:
            killing = asyncio.create_task(kill())
            await load.run(requests)
            while not killing.done():
                await load.run(AT_ONCE)
            await killing

        asyncio.run(both())
        drawn = int(metric(served, "mulo_sd_images_total")[MODEL])
        children = descendants(driver)
        again = served.output.count('"event": "asked again"')
        status = served.end()
        time.sleep(1)
    counts, asked = load.counts, sum(load.counts.statuses.values())
    left = [process for process in children if is_alive(process)]
    return {
        "requests": asked,
        "statuses": dict(counts.statuses),
        "lost": asked - counts.statuses["200"],
        "kills": kills,
        "asked_again": again,
        "drawn": drawn,
        "drawn_twice": drawn - asked,
        "replica_back_s": parts(recoveries),
        "request_s": parts(counts.seconds),
        "exit_status": status,
        "processes_left": len(left),
        "wrong": counts.wrong[:5],
    }


def alone_killed(bundle: Path, expected: Expected, times: int) -> dict[str, Any]:
    """Kill the only replica, then ask; return how long it takes until the answer is there, and without a kill."""
    with Served(*bundle_argument(MODEL, bundle), "--ray", "--replicas", "1", "--size", "2") as served:
        load = Load(served.url, expected, iter(range(10**6)))
        asyncio.run(load.run(2 * AT_ONCE))
        usual, load.counts.seconds = load.counts.seconds, []
        for _ in range(times):
            wait_for_replicas(served.process.pid, 1)
            os.kill(engine_replicas(served.process.pid)[0], signal.SIGKILL)
            asyncio.run(load.run(1))
    return {"with_a_kill_s": parts(load.counts.seconds), "usual_s": parts(usual), "wrong": load.counts.wrong[:5]}


def updated_under_load(bundle: Path, expected: Expected, requests: int) -> dict[str, Any]:
    """Deploy another configuration while requests are on their way; return figures."""
    with Head(cpus=2 * REPLICAS) as head:
        head.deploy(configuration(bundle, size=2))
        head.wait_until_running(APP)
        load, seconds = Load(head.url, expected, iter(range(10**6))), 0.0

        async def update() -> float:
            started = time.monotonic()
            await asyncio.to_thread(head.deploy, configuration(bundle, size=3))
            await asyncio.to_thread(head.wait_until_running, APP)
            return time.monotonic() - started

        async def both() -> float:
            updating = asyncio.create_task(update())
            await load.run(requests)
            while not updating.done():
                await load.run(AT_ONCE)
            return await updating

        seconds = asyncio.run(both())
    counts, asked = load.counts, sum(load.counts.statuses.values())
    return {
        "requests": asked,
        "statuses": dict(counts.statuses),
        "lost": asked - counts.statuses["200"],
        "update_s": round(seconds, 1),
        "request_s": parts(counts.seconds),
        "wrong": counts.wrong[:5],
    }


def scaled_with_the_load(bundle: Path, expected: Expected) -> dict[str, Any]:
    """Load a service of one replica that may have two; return how long it takes until it has them."""
    options = ("--ray", "--replicas", "1", "--max-replicas", str(REPLICAS), "--size", "1")
    with Served(*bundle_argument(MODEL, bundle), *options) as served:
        load, started = Load(served.url, expected, iter(range(10**6))), time.monotonic()

        async def both() -> float:
            while len(await asyncio.to_thread(engine_replicas, served.process.pid)) < REPLICAS:
                if time.monotonic() > started + WAIT_SECONDS:
                    raise RuntimeError(f"expected {REPLICAS} engine replicas after {WAIT_SECONDS:g} s of load, got one")
                await load.run(2 * AT_ONCE)
            return time.monotonic() - started

        seconds = asyncio.run(both())
    asked = sum(load.counts.statuses.values())
    lost = asked - load.counts.statuses["200"]
    return {"requests": asked, "lost": lost, "second_replica_s": round(seconds, 1), "wrong": load.counts.wrong[:5]}


def configuration(bundle: Path, **options: Any) -> dict[str, Any]:
    """Return what `serve deploy` takes."""
    application = {
        "name": APP,
        "route_prefix": "/",
        "import_path": "mulo_sd.engines.cluster.app:build",
        "args": {"bundles": {MODEL: str(bundle)}, "replicas": REPLICAS, **options},
    }
    return {"applications": [application]}


def wait_for_replicas(driver: int, count: int) -> None:
    """Wait until a service has so many engine replicas."""
    ends_at = time.monotonic() + WAIT_SECONDS
    while len(engine_replicas(driver)) < count:
        if time.monotonic() > ends_at:
            raise RuntimeError(f"expected {count} engine replicas, got {engine_replicas(driver)}")
        time.sleep(0.05)


def parts(seconds: list[float]) -> dict[str, float]:
    """Return the middle and the ends of some seconds."""
    if not seconds:
        return {}
    return {name: round(share(seconds, part), 2) for name, part in (("p50", 0.5), ("p95", 0.95), ("max", 1.0))}


@command
def main() -> int:
    """Soak; print the figures as JSON.

    Returns:
        0; 1 where a request was lost, an image was wrong or drawn twice, or a process was left.
    """
    parser = command_parser("conformance.tools.soak_cluster", __doc__)
    parser.add_argument("--bundle", type=user_path, required=True, help="of the demo or the minimal preset")
    parser.add_argument("--requests", type=int, default=100, help="of each part; default: %(default)s")
    parser.add_argument("--kills", type=int, default=10, help="of engine replicas; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of what is killed when; default: %(default)s")
    arguments = parser.parse_args()
    try:
        requests = whole_number("--requests", arguments.requests, 1, 10**5)
        kills = whole_number("--kills", arguments.kills, 0, 100)
        expected = Expected(arguments.bundle)
    except (engines.BundleError, engines.SettingsError) as error:
        parser.error(str(error))
    chance = random.Random(arguments.seed)
    report = {
        "killed_under_load": killed_under_load(arguments.bundle, expected, requests, kills, chance),
        "the_only_one_killed": alone_killed(arguments.bundle, expected, min(kills, 5)),
        "scaled_with_the_load": scaled_with_the_load(arguments.bundle, expected),
        "updated_under_load": updated_under_load(arguments.bundle, expected, requests),
    }
    print(json.dumps(report, indent=1))
    killed = report["killed_under_load"]
    faults = [killed["drawn_twice"], killed["processes_left"], killed["exit_status"]]
    faults += [part.get("lost", 0) for part in report.values()] + [len(part["wrong"]) for part in report.values()]
    return int(any(faults))


if __name__ == "__main__":
    sys.exit(main())
