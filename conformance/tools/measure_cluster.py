"""python -m conformance.tools.measure_cluster: what Ray costs beside the plain service, and what replicas bring.

Needs the extra `ray`. The services run at the same time on loopback and are measured in turns, so that what else the
machine does falls on all of them; docs/cluster.md has the figures.
"""

import asyncio
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mulo_sd import engines
from mulo_sd.conformance.tools.measure_service import MODEL, Orders, clients, one_by_one, share
from mulo_sd.conformance.tools.serving.served import Served, bundle_argument
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.numbers import whole_number

AT_ONCE = 8
# One thread a pass everywhere but in the second: what the plain service does with all cores of the machine.
SERVICES = {
    "plain": ("--threads", "1"),
    "plain_all_threads": (),
    "ray_1_replica": ("--threads", "1", "--ray", "--replicas", "1"),
    "ray_2_replicas": ("--threads", "1", "--ray", "--replicas", "2"),
}


def measure(bundle: Path, count: int, size: int, rounds: int) -> dict[str, Any]:
    """Measure; return figures by service."""
    orders = Orders()
    with ExitStack() as stack:
        services = {}
        for name, options in SERVICES.items():
            arguments = (*bundle_argument(MODEL, bundle), "--size", str(size), "--queue", str(count), *options)
            services[name] = stack.enter_context(Served(*arguments))
            asyncio.run(clients(services[name].url, AT_ONCE, AT_ONCE, orders))
        beside: dict[str, list[float]] = {name: [] for name in services}
        first: dict[str, list[float]] = {name: [] for name in services}
        rates: dict[str, list[float]] = {name: [] for name in services}
        for _ in range(rounds):
            for name, served in services.items():
                answers = asyncio.run(one_by_one(served.url, count // rounds, orders))
                beside[name] += [answer.seconds - answer.content["mulo_sd"]["seconds"] for answer in answers]
                streams = asyncio.run(one_by_one(served.url, count // rounds, orders, stream=True, partial_images=1))
                first[name] += [answer.first_seconds for answer in streams]
                rates[name].append(asyncio.run(clients(served.url, count // rounds * 2, AT_ONCE, orders))[0])
    return {
        name: {
            "beside_decode_ms": {
                f"p{round(100 * part)}": round(1000 * share(beside[name], part), 1) for part in (0.5, 0.95)
            },
            "first_partial_ms_p50": round(1000 * share(first[name], 0.5)),
            "images_a_second": [round(rate, 2) for rate in rates[name]],
            "throughput_beside_plain": round(
                share([own / plain for own, plain in zip(rates[name], rates["plain"], strict=True)], 0.5), 2
            ),
        }
        for name in SERVICES
    }


@command
def main() -> int:
    """Measure and print JSON."""
    parser = command_parser("conformance.tools.measure_cluster", __doc__)
    parser.add_argument("--bundle", type=user_path, required=True, help="that is served")
    parser.add_argument("--images", type=int, default=60, help="of each figure; default: %(default)s")
    parser.add_argument("--size", type=int, default=4, help="images at once; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="in turns; default: %(default)s")
    arguments = parser.parse_args()
    try:
        rounds = whole_number("--rounds", arguments.rounds, 1, 100)
        images = whole_number("--images", arguments.images, AT_ONCE * rounds, 10_000)
        figures = measure(arguments.bundle, images, arguments.size, rounds)
    except (engines.BundleError, engines.SettingsError) as error:
        parser.error(str(error))
    print(json.dumps({"images": images, "size": arguments.size, **figures}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
