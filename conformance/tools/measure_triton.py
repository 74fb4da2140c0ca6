"""python -m conformance.tools.measure_triton --bundle DIR: what Triton costs beside the session and the service.

Everything is on loopback and on this machine, the client's own work included; docs/triton.md has the figures. Triton's
client runs in its own environment, where it is; images of all of them are compared.
"""

import asyncio
import hashlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mulo_sd import engines
from mulo_sd.conformance.tools.measure_service import (
    MODEL,
    Orders,
    clients,
    one_by_one,
    session_alone,
    session_beside,
    share,
)
from mulo_sd.conformance.tools.serving.served import Served, bundle_argument
from mulo_sd.conformance.tools.serving.tritonserver import Environments, TritonServer
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.ingress.formats import encoded
from mulo_sd.engines.numbers import whole_number

CLIENT = Path(__file__).with_name("serving") / "triton_clients.py"


def triton_answers(environments: Environments, address: str, orders: Sequence[dict[str, Any]], at_once: int) -> Any:
    """Ask Triton for images over gRPC, some at once; return seconds in all, and what each took and got."""
    given = json.dumps({"address": address, "model": MODEL, "orders": list(orders), "at_once": at_once})
    done = subprocess.run(
        [str(environments.server / "bin" / "python"), str(CLIENT)],
        input=given,
        text=True,
        check=True,
        capture_output=True,
    )
    return json.loads(done.stdout)


def measure(
    environments: Environments, bundle: Path, count: int, size: int, threads: int, rounds: int
) -> dict[str, Any]:
    """Measure one bundle; return figures by name, seconds in milliseconds."""
    pipeline, orders = engines.load(bundle, threads=threads), Orders()
    pipeline.generate(**orders.next())
    options = ["--size", str(size), "--queue", str(count), "--threads", str(threads)]
    figures: dict[str, Any] = {"bundle": pipeline.bundle.manifest.name, "images": count, "size": size}
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder, "repository")
        exported = [*bundle_argument(MODEL, bundle), "--out", str(repository), *options]
        subprocess.run([sys.executable, "-m", "mulo_sd.export.triton", *exported], check=True, capture_output=True)
        with (
            Served(*bundle_argument(MODEL, bundle), *options) as served,
            TritonServer(environments, repository, MODEL) as triton,
        ):

            def ask(count: int, at_once: int = 1) -> Any:
                asked = [orders.next() for _ in range(count)]
                return triton_answers(environments, triton.grpc, asked, at_once)

            ask(4)
            asyncio.run(one_by_one(served.url, 4, orders))
            figures["session_beside_decode_ms"] = parts(session_beside(pipeline, count, orders))
            single = asyncio.run(one_by_one(served.url, count, orders))
            beside = [answer.seconds - answer.content["mulo_sd"]["seconds"] for answer in single]
            figures["service_beside_decode_ms"] = parts(beside)
            answers = ask(count)["answers"]
            figures["triton_beside_decode_ms"] = parts([one["seconds"] - one["decode_seconds"] for one in answers])
            figures["triton_one_at_a_time_ms"] = parts([one["seconds"] for one in answers])
            figures |= _throughput(pipeline, served, ask, count, size, rounds)
            figures["images_compared"] = compare(pipeline, answers)
    return figures


def _throughput(
    pipeline: engines.Pipeline, served: Served, ask: Any, count: int, size: int, rounds: int
) -> dict[str, Any]:
    """Return images a second of the session, the service and Triton in turns, each with as many at once as it takes."""
    alone, service, triton, orders = [], [], [], Orders(10**6)
    for _ in range(rounds):
        alone.append(session_alone(pipeline, count, size, orders))
        service.append(asyncio.run(clients(served.url, count, 2 * size, orders))[0])
        triton.append(count / ask(count, 2 * size)["seconds"])
    return {
        "session_images_a_second": [round(rate, 2) for rate in alone],
        "service_images_a_second": [round(rate, 2) for rate in service],
        "triton_images_a_second": [round(rate, 2) for rate in triton],
        "triton_of_session": share([one / other for one, other in zip(triton, alone, strict=True)], 0.5),
    }


def compare(pipeline: engines.Pipeline, answers: Sequence[dict[str, Any]]) -> int:
    """Compare some images with the direct API's; return how many.

    Raises:
        RuntimeError: one differs.
    """
    some = answers[:: max(1, len(answers) // 10)]
    for answer in some:
        expected = encoded(pipeline.generate(answer["prompt"], answer["seed"]).image, "png")
        if hashlib.sha256(expected).hexdigest() != answer["sha256"]:
            raise RuntimeError(f"seed {answer['seed']}: Triton drew another image than the direct API")
    return len(some)


def parts(seconds: Sequence[float]) -> dict[str, float]:
    """Return the median and the slow ones, in milliseconds."""
    return {name: round(1000 * share(seconds, part), 2) for name, part in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))}


@command
def main() -> int:
    """Measure and print JSON."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the servers end, too
    parser = command_parser("conformance.tools.measure_triton", __doc__)
    parser.add_argument(
        "--bundle", type=user_path, action="append", required=True, help="that is served; may be repeated"
    )
    parser.add_argument("--images", type=int, default=100, help="of each figure; default: %(default)s")
    parser.add_argument("--size", type=int, default=4, help="images at once; default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="of a pass; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="of throughput, in turns; default: %(default)s")
    arguments = parser.parse_args()
    try:
        images, rounds = (
            whole_number(f"--{name}", getattr(arguments, name), 1, 10_000) for name in ("images", "rounds")
        )
        environments = Environments()
        for bundle in arguments.bundle:
            figures = measure(environments, bundle, images, arguments.size, arguments.threads, rounds)
            print(json.dumps(figures, indent=1), flush=True)
    except (engines.BundleError, engines.SettingsError, LookupError) as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
