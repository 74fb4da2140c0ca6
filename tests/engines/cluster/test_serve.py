"""The service on Ray: what it answers is what one machine's answers, whichever replicas live."""

import asyncio
import base64
import io
import json
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from PIL import Image

from mulo_sd import engines
from mulo_sd.conformance.tools.serving.expected import Expected
from mulo_sd.conformance.tools.serving.head import Head
from mulo_sd.conformance.tools.serving.replicas import descendants, engine_replicas, processor_seconds
from mulo_sd.conformance.tools.serving.served import Served, bundle_argument, metric
from mulo_sd.conformance.tools.soak_cluster import APP, MODEL, configuration, wait_for_replicas
from tests.engines.cluster.conftest import assert_ended, kill
from tests.engines.http.raw import Answer, connect, events, generate, generation, head, read_answer, send

pytestmark = pytest.mark.usefixtures("ray_extra")
PROMPT = "a red circle left of a blue square"
# One token a pass, and ten images: some seconds.
SLOW = {"prompt": PROMPT, "model": "demo", "mode": "eagle", "draft_length": 1}


@pytest.fixture(scope="module")
def expected(minimal_bundle: Path) -> Expected:
    return Expected(minimal_bundle)


@pytest.fixture(scope="module")
def expected_demo(demo_bundle: Path) -> Expected:
    return Expected(demo_bundle)


def image_of(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, answer.body[:300]
    content: dict[str, Any] = json.loads(answer.body)["data"][0]
    return content


def until(served: Served, name: str, model: str, value: float) -> None:
    """Wait until a metric has a value."""
    ends_at = time.monotonic() + 30
    while metric(served, name).get(model, 0.0) != value:
        assert time.monotonic() < ends_at, metric(served, name)
        time.sleep(0.02)


def test_images_are_the_direct_apis(cluster: Served, expected: Expected, expected_demo: Expected) -> None:
    """Of both bundles in turn, though a replica has room for one."""
    for seed in range(3):
        order = {"prompt": PROMPT, "seed": seed}
        assert expected.is_right(order, image_of(generate(cluster.url, order)))
        assert expected_demo.is_right(order, image_of(generate(cluster.url, order | {"model": "demo"})))


def test_a_stream_shows_the_steps_and_the_same_image(cluster: Served, expected_demo: Expected) -> None:
    order = {"prompt": PROMPT, "seed": 11}
    wanted = order | {"model": "demo", "stream": True, "partial_images": 3, "decode_steps": True}
    named = events(generate(cluster.url, wanted))
    kinds = [name for name, _ in named]
    assert kinds.count("image_generation.partial_image") >= 1
    assert kinds.count("mulo_sd.decode_step") >= 3
    assert kinds[-1] == "image_generation.completed"
    assert expected_demo.is_right(order, named[-1][1])
    partial = [item["b64_json"] for name, item in named if name == "image_generation.partial_image"]
    assert {Image.open(io.BytesIO(base64.b64decode(text))).size for text in partial} == {(128, 128)}


def test_replicas_have_the_priority_of_the_command(cluster: Served) -> None:
    own = os.getpriority(os.PRIO_PROCESS, cluster.process.pid)
    for replica in engine_replicas(cluster.process.pid):
        assert os.getpriority(os.PRIO_PROCESS, replica) == own


def test_openais_client_and_the_page(cluster: Served) -> None:
    client = openai.OpenAI(base_url=f"{cluster.url}/v1", api_key="any")
    assert [model.id for model in client.models.list()] == ["minimal", "demo"]
    url = client.images.generate(prompt=PROMPT, response_format="url").data[0].url  # type: ignore[index]
    assert url is not None
    assert cluster.get(url.removeprefix(cluster.url))[0] == 200
    for path in ("/", "/health", "/ready", "/metrics", "/openapi.json", "/docs"):
        assert cluster.get(path)[0] == 200


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"{", 400, "invalid_json"),
        ({"prompt": "crimson"}, 400, "invalid_prompt"),
        ({"prompt": PROMPT, "drafters": [9]}, 400, "invalid_value"),
        ({"prompt": PROMPT, "preset": "none"}, 400, "invalid_value"),
        ({"prompt": PROMPT, "model": "other"}, 404, "model_not_found"),
        (SLOW | {"deadline": 0.05}, 504, "deadline_exceeded"),
    ],
)
def test_refusals_are_error_objects(cluster: Served, content: object, status: int, code: str) -> None:
    answer = generate(cluster.url, content)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert answer.headers["x-request-id"]


def test_other_paths_are_error_objects(cluster: Served) -> None:
    for request, status in ((head("GET", "/nowhere"), 404), (head("DELETE", "/v1/models"), 405)):
        answer = send(cluster.url, request)
        assert answer.status == status
        assert answer.error["message"]


def test_a_full_queue_is_a_429_with_a_time(cluster: Served) -> None:
    """Four are drawn at once, twelve may wait: of twenty-four some are refused, and the others are images."""
    contents = [SLOW | {"seed": 1000 + seed, "mode": "ar"} for seed in range(24)]
    with ThreadPoolExecutor(len(contents)) as threads:
        answers = list(threads.map(lambda content: generate(cluster.url, content), contents))
    refused = [answer for answer in answers if answer.status != 200]
    assert {answer.status for answer in refused} == {429}
    assert len(refused) == 8
    for answer in refused:
        assert answer.error["code"] == "queue_full"
        assert int(answer.headers["retry-after"]) >= 1


def test_who_hangs_up_frees_the_place(cluster: Served) -> None:
    drawn = metric(cluster, "mulo_sd_images_total").get("demo", 0)
    for stream in (False, True):
        with connect(cluster.url) as connection:
            connection.sendall(generation(SLOW | {"seed": 2000 + stream, "stream": stream}))
            until(cluster, "mulo_sd_places_in_use", "demo", 1)
            assert busy(cluster) > 0.3
        started = time.monotonic()
        until(cluster, "mulo_sd_places_in_use", "demo", 0)
        assert time.monotonic() - started < 2
        assert busy(cluster) < 0.2
    assert metric(cluster, "mulo_sd_images_total").get("demo", 0) == drawn


def busy(cluster: Served) -> float:
    """Return how long all replicas together compute within half a second."""
    replicas = engine_replicas(cluster.process.pid)
    before = sum(map(processor_seconds, replicas))
    time.sleep(0.5)
    return sum(map(processor_seconds, replicas)) - before


def test_a_slow_reader_holds_up_nobody(cluster: Served) -> None:
    with connect(cluster.url) as slow:
        slow.sendall(
            generation({"prompt": PROMPT, "model": "demo", "seed": 3000, "stream": True, "decode_steps": True})
        )
        time.sleep(0.5)  # it reads nothing meanwhile
        for seed in range(3001, 3004):
            image_of(generate(cluster.url, {"prompt": PROMPT, "seed": seed}))
        assert events(read_answer(slow))[-1][0] == "image_generation.completed"


def test_the_same_order_is_drawn_once(cluster: Served) -> None:
    before = metric(cluster, "mulo_sd_images_total")["minimal"]
    with ThreadPoolExecutor(5) as threads:
        contents = [{"prompt": PROMPT, "seed": 4000}] * 5
        answers = list(threads.map(lambda content: generate(cluster.url, content), contents))
    assert len({image_of(answer)["b64_json"] for answer in answers}) == 1
    assert metric(cluster, "mulo_sd_images_total")["minimal"] == before + 1


def test_killed_replicas_lose_no_request(cluster: Served, expected_demo: Expected) -> None:
    """Twenty images, three kills; every order is answered with its image, and drawn once."""
    chance, before = random.Random(0), metric(cluster, "mulo_sd_images_total")["demo"]
    orders = [{"prompt": PROMPT, "seed": 5000 + number} for number in range(20)]
    with ThreadPoolExecutor(4) as threads:
        asking = [threads.submit(generate, cluster.url, order | {"model": "demo"}) for order in orders]
        for _ in range(3):
            time.sleep(0.3 + chance.random())
            wait_for_replicas(cluster.process.pid, 1)
            kill(chance.choice(engine_replicas(cluster.process.pid)))
        answers = [one.result() for one in asking]
    assert all(expected_demo.is_right(order, image_of(one)) for order, one in zip(orders, answers, strict=True))
    assert metric(cluster, "mulo_sd_images_total")["demo"] == before + len(orders)


def test_sigterm_lets_requests_end(demo_bundle: Path) -> None:
    with Served(*bundle_argument("demo", demo_bundle), "--ray", "--replicas", "1", "--size", "1") as served:
        children = descendants(served.process.pid)
        with ThreadPoolExecutor(1) as threads:
            asking = threads.submit(generate, served.url, {"prompt": PROMPT, "n": 3, "mode": "ar"})
            until(served, "mulo_sd_places_in_use", "demo", 1)
            served.process.terminate()
            ends_at = time.monotonic() + 20
            while (refused := generate(served.url, {"prompt": PROMPT})).status == 200:
                assert time.monotonic() < ends_at
            assert (refused.status, refused.error["code"]) == (503, "service_draining")
            assert len(json.loads(asking.result().body)["data"]) == 3
        assert served.process.wait(60) == 0
        assert_ended(children)


def test_a_driver_that_is_killed_leaves_no_replica(minimal_bundle: Path) -> None:
    """Two agents of Ray's go a minute later."""
    with Served(*bundle_argument("minimal", minimal_bundle), "--ray", "--replicas", "1") as served:
        replicas = engine_replicas(served.process.pid)
        assert len(replicas) == 1
        kill(served.process.pid)
        served.process.wait(30)
        assert_ended({*replicas})


@pytest.mark.parametrize("daemon", ["raylet", "gcs_server"])
def test_a_daemon_that_dies_ends_the_command_with_a_line(daemon: str, minimal_bundle: Path) -> None:
    with Served(*bundle_argument("minimal", minimal_bundle), "--ray", "--replicas", "1") as served:
        children, replicas = descendants(served.process.pid), engine_replicas(served.process.pid)
        victims = [child for child in children if Path(f"/proc/{child}/comm").read_text().strip() == daemon]
        kill(victims[0])
        assert served.process.wait(30) == 1
        assert_ended({*replicas})
        ends_at = time.monotonic() + 10
        while "error: " not in served.output:
            assert time.monotonic() < ends_at, served.output
            time.sleep(0.05)
        line = "error: ray: the cluster or a signal ended the command; start it again"
        assert served.output.splitlines()[-1] == line


def test_the_log_comes_to_standard_error(cluster: Served) -> None:
    """Requests, and why one failed, behind Ray's prefix."""
    generate(cluster.url, {"prompt": PROMPT, "seed": 6000}, x_request_id="of-the-log")
    ends_at = time.monotonic() + 10
    while '"request_id": "of-the-log"' not in cluster.output:
        assert time.monotonic() < ends_at, cluster.output[-2000:]
        time.sleep(0.1)
    assert '"event": "ready"' in cluster.output


def test_an_update_loses_no_request(minimal_bundle: Path, expected: Expected) -> None:
    """From a config file, as an operator does; the ingress and the replicas are replaced one after the other."""
    with Head(cpus=4) as cluster:
        cluster.deploy(configuration(minimal_bundle, size=2))
        cluster.wait_until_running(APP)
        asyncio.run(_asked_while_updated(cluster, minimal_bundle, expected))


async def _asked_while_updated(cluster: Head, bundle: Path, expected: Expected) -> None:
    deploying = asyncio.create_task(asyncio.to_thread(cluster.deploy, configuration(bundle, size=3)))
    running, seed = None, 0
    while running is None or not running.done():
        if running is None and deploying.done():
            running = asyncio.create_task(asyncio.to_thread(cluster.wait_until_running, APP))
        order = {"prompt": PROMPT, "seed": seed}
        answer = await asyncio.to_thread(generate, cluster.url, order | {"model": MODEL})
        assert expected.is_right(order, image_of(answer))
        seed += 1
    await asyncio.gather(deploying, running)
    assert seed > 3


def test_it_joins_a_running_cluster_and_leaves_it_as_it_was(minimal_bundle: Path) -> None:
    """By our own command, then by Ray's with texts for options."""
    bundle = f"{MODEL}={minimal_bundle}"
    with Head(cpus=2) as cluster:
        with Served("--bundle", bundle, "--ray", "--ray-address", cluster.address, "--replicas", "1") as served:
            image_of(generate(served.url, {"prompt": PROMPT}))
            # Another one of the same name would replace it, and delete it at its end.
            again = ["--bundle", bundle, "--ray", "--ray-address", cluster.address]
            line = [sys.executable, "-m", "mulo_sd.engines.serve", *again]
            refused = subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)
            assert refused.returncode == 2
            assert "error: app-name: expected one that is free, got mulo-sd, which runs already" in refused.stderr
            image_of(generate(served.url, {"prompt": PROMPT, "seed": 1}))
            assert served.end() == 0
        assert cluster.status() == {}
        command = [str(Path(sys.executable).parent / "serve"), "run", "--address", cluster.address]
        command += ["mulo_sd.engines.cluster.app:build", f"bundles={bundle}", "replicas=1"]
        run = subprocess.Popen(command, env=cluster.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            cluster.wait_until_running("default")
            image_of(generate(served.url, {"prompt": PROMPT}))
        finally:
            run.terminate()
            run.wait(60)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bundle", "a=/nowhere", "--ray"], "/nowhere: expected a bundle's folder, found none"),
        (["--ray", "--replicas", "0"], "replicas: expected greater than or equal to 1, got 0"),
        (
            ["--ray", "--replicas", "3", "--max-replicas", "2"],
            "max-replicas: expected at least 3, as --replicas says, got 2",
        ),
        (["--ray", "--cpus-each", "nan"], "cpus-each: expected"),
        (["--ray", "--ray-address", "127.0.0.1:1"], "ray-address: expected a cluster at 127.0.0.1:1, got none: "),
        (
            ["--ray", "--ray-address", "nonsense"],
            "ray-address: expected auto or HOST:PORT of a cluster, got 'nonsense'",
        ),
        (["--ray", "--replicas", "4000"], "replicas: expected at most"),
        (
            ["--ray", "--gpus-each", "1", "--replicas", "1"],
            "gpus-each: expected at most the 0 GPUs of this machine, got 1",
        ),
        (["--ray", "--api-key-file", "none"], "api-key-file: none: expected a file of keys, found none"),
        (["--ray", "--backend", "none:such", "--replicas", "1"], "engine replicas: cannot be started"),
    ],
)
def test_it_cannot_begin(tmp_path: Path, minimal_bundle: Path, arguments: list[str], message: str) -> None:
    bundle = () if "--bundle" in arguments else bundle_argument("a", minimal_bundle)
    command = [sys.executable, "-m", "mulo_sd.engines.serve", "--port", "0", *bundle, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert message in lines[0]
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_the_pixels_are_compared(minimal_bundle: Path, expected: Expected) -> None:
    """What the tests hold images against tells another one."""
    order = {"prompt": PROMPT, "seed": 0}
    buffer = io.BytesIO()
    image = np.asarray(engines.load(minimal_bundle, threads=1).generate(prompt=PROMPT, seed=0).image).copy()
    image[0, 0, 0] ^= 1
    Image.fromarray(image).save(buffer, format="PNG")
    assert not expected.is_right(order, {"b64_json": base64.b64encode(buffer.getvalue()).decode()})
