"""The service as a process: it starts, says how it is, drains on SIGTERM, and says why where it cannot begin."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import openai
import pytest

from mulo_sd.conformance.tools.serving.served import Served, bundle_argument
from tests.engines.http.raw import Answer, connect, events, generate, generation, head, read_answer, send

# Takes a second or two: one token a pass, in a mode that shares nothing.
SLOW = {"prompt": "a red star", "mode": "eagle", "draft_length": 1, "n": 10}


@pytest.fixture
def bundle(minimal_bundle: Path) -> tuple[str, str]:
    return bundle_argument("minimal", minimal_bundle)


class Asking(threading.Thread):
    """A request in a thread of its own."""

    def __init__(self, url: str, content: object) -> None:
        super().__init__()
        self.url, self.content = url, content
        self.answer: Answer | None = None
        self.start()

    def run(self) -> None:
        self.answer = generate(self.url, self.content)

    def get(self) -> Answer:
        self.join(60)
        assert self.answer is not None
        return self.answer


def until(served: Served, text: bytes) -> None:
    """Wait until the metrics say something."""
    ends_at = time.monotonic() + 30
    while text not in served.get("/metrics")[1]:
        assert time.monotonic() < ends_at
        time.sleep(0.005)


def test_sigterm_lets_requests_end(bundle: tuple[str, str]) -> None:
    with Served(*bundle, "--size", "1") as served:
        asking = Asking(served.url, SLOW)
        until(served, b'mulo_sd_places_in_use{model="minimal"} 1.0')
        served.process.send_signal(signal.SIGTERM)
        while served.get("/ready")[0] == 200:
            time.sleep(0.005)
        status, body = served.get("/ready")
        assert (status, json.loads(body)["error"]["code"]) == (503, "service_draining")
        assert served.get("/health")[0] == 200
        refused = generate(served.url, {"prompt": "a red star"})
        assert (refused.status, refused.error["code"]) == (503, "service_draining")
        assert refused.headers["retry-after"] == "2"
        assert len(json.loads(asking.get().body)["data"]) == 10
        assert served.process.wait(30) == 0


@pytest.mark.parametrize("stream", [False, True])
def test_after_the_grace_requests_are_refused(bundle: tuple[str, str], stream: bool) -> None:
    with Served(*bundle, "--size", "1", "--grace", "0.05") as served:
        wanted = SLOW | {"n": 1, "seed": 3, "mode": "ar", "sweep_width": 1} if stream else SLOW
        asking = [Asking(served.url, wanted | {"stream": stream, "seed": 100 * number}) for number in range(6)]
        until(served, b'mulo_sd_places_in_use{model="minimal"} 1.0')
        assert served.end() == 0
        for one in asking:
            answer = one.get()
            if answer.status == 200:
                ended = events(answer)[-1] if stream else ("", {})
                assert (
                    not stream
                    or ended[0] == "image_generation.completed"
                    or ended[1]["error"]["code"] == "service_draining"
                )
            else:
                assert (answer.status, answer.error["code"]) == (503, "service_draining")


def test_a_second_signal_ends_it_at_once(bundle: tuple[str, str]) -> None:
    with Served(*bundle, "--size", "1", "--grace", "300") as served:
        Asking(served.url, SLOW | {"mode": "eagle-tree"})
        until(served, b'mulo_sd_places_in_use{model="minimal"} 1.0')
        served.process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        started = time.monotonic()
        assert served.end(signal.SIGINT) == 0
        assert time.monotonic() - started < 5


def test_it_says_that_it_loads(minimal_bundle: Path, tmp_path: Path) -> None:
    """A backend of one's own that takes its time, as large models do."""
    (tmp_path / "slow.py").write_text(
        "import time\nfrom mulo_sd.engines.backends.choose import make_backend\n"
        "def make(bundle, threads=None):\n    time.sleep(1.5)\n    return make_backend('ort', bundle, threads)\n"
    )
    with started_in(tmp_path, *bundle_argument("a", minimal_bundle), "--backend", "slow:make", wait=False) as served:
        status, body = served.get("/ready")
        assert (status, json.loads(body)["error"]["code"]) == (503, "service_loading")
        assert served.get("/health")[0] == 200
        for refused in (generate(served.url, {"prompt": "a red star"}), send(served.url, head("GET", "/v1/models"))):
            assert (refused.status, refused.error["code"]) == (503, "service_loading")
        # OpenAI's client tries again by itself until it is there.
        client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="any", max_retries=5)
        assert client.images.generate(prompt="a red star").size == "16x16"


def started_in(folder: Path, *arguments: str, wait: bool = True) -> Served:
    """Start a service in a folder, whose modules it finds."""
    old = Path.cwd()
    os.chdir(folder)
    try:
        return Served(*arguments, wait=wait)
    finally:
        os.chdir(old)


def test_an_engine_that_fails_tells_clients_nothing_of_the_server(minimal_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "failing.py").write_text(
        "from mulo_sd.engines import BackendError, WrappedBackend\n"
        "from mulo_sd.engines.backends.choose import make_backend\n"
        "class Failing(WrappedBackend):\n"
        "    def run(self, graph, inputs):\n"
        "        if graph == 'decoder':\n"
        "            raise BackendError('/secret/decoder.onnx: it cannot be run')\n"
        "        return super().run(graph, inputs)\n"
        "def make(bundle, threads=None):\n    return Failing(make_backend('ort', bundle, threads))\n"
    )
    with started_in(tmp_path, *bundle_argument("a", minimal_bundle), "--backend", "failing:make") as served:
        for stream in (False, True):
            answer = generate(served.url, {"prompt": "a red star", "stream": stream}, x_request_id=f"failing-{stream}")
            error = events(answer)[-1][1]["error"] if stream else answer.error
            assert error["code"] == "engine_failed"
            assert error["message"].endswith(f"under request failing-{stream}")
            assert b"secret" not in answer.body
            if not stream:
                assert (answer.status, answer.headers["x-should-retry"]) == (500, "false")
        assert served.output.count("/secret/decoder.onnx: it cannot be run") >= 2
        assert served.get("/ready")[0] == 200


def test_the_loop_answers_while_images_are_drawn(bundle: tuple[str, str]) -> None:
    with Served(*bundle, "--size", "4") as served:
        asking = [Asking(served.url, SLOW | {"seed": 1000 * number}) for number in range(4)]
        until(served, b'mulo_sd_places_in_use{model="minimal"} 4.0')
        seconds = list[float]()
        while len(seconds) < 20:
            started = time.monotonic()
            assert served.get("/health")[0] == 200
            seconds.append(time.monotonic() - started)
        assert sorted(seconds)[10] < 0.5
        assert [one.get().status for one in asking] == [200] * 4


def test_who_hangs_up_frees_the_place_within_a_step(bundle: tuple[str, str]) -> None:
    """Of ten images that take a second together, none is begun after that; a pass takes milliseconds."""
    with Served(*bundle, "--size", "1") as served:
        with connect(served.url) as connection:
            connection.sendall(generation(SLOW))
            until(served, b'mulo_sd_places_in_use{model="minimal"} 1.0')
        started = time.monotonic()
        until(served, b'mulo_sd_places_in_use{model="minimal"} 0.0')
        assert time.monotonic() - started < 0.5
        metrics = served.get("/metrics")[1].decode()
        assert f'mulo_sd_orders_total{{model="minimal",outcome="drawn"}} {SLOW["n"]}.0' in metrics
        assert 'mulo_sd_images_total{model="minimal"} 10.0' not in metrics
        assert 'mulo_sd_queue{model="minimal"} 0.0' in metrics
        assert 'status="499"' in metrics


def test_metrics_say_what_was_drawn(bundle: tuple[str, str]) -> None:
    with Served(*bundle) as served:
        content = {"prompt": "a red star", "seed": 3}
        figures = json.loads(generate(served.url, content).body)["mulo_sd"]
        again = json.loads(generate(served.url, content).body)["mulo_sd"]
        assert {**again, "request_id": ""} == {**figures, "request_id": ""}
        text = served.get("/metrics")[1].decode()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    for name, count in figures["passes"].items():
        assert float(lines[f'mulo_sd_passes_total{{model="minimal",pass_of="{name}"}}']) == count
    for name in ("waited_seconds", "image_seconds", "tokens_a_pass", "acceptance_rate"):
        assert float(lines[f'mulo_sd_{name}_count{{model="minimal"}}']) == 1
    assert float(lines['mulo_sd_image_seconds_sum{model="minimal"}']) == figures["seconds"]
    assert float(lines['mulo_sd_tokens_a_pass_sum{model="minimal"}']) == figures["images"][0]["tokens_a_pass"]
    assert float(lines['mulo_sd_orders_total{model="minimal",outcome="joined"}']) == 1
    assert float(lines['mulo_sd_kv_bytes{model="minimal"}']) > 0
    assert float(lines['mulo_sd_requests_total{path="/v1/images/generations",status="200"}']) == 2


def test_a_signal_ends_it_while_it_loads(minimal_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ndef make(bundle, threads=None):\n    time.sleep(600)\n")
    with started_in(tmp_path, *bundle_argument("a", minimal_bundle), "--backend", "slow:make", wait=False) as served:
        started = time.monotonic()
        assert served.end() == 0
        assert time.monotonic() - started < 10


def test_a_signal_ends_it_while_a_runtime_loads(demo_bundle: Path) -> None:
    """Its threads must not make an end in order an abort."""
    bundles = [word for number in range(4) for word in bundle_argument(f"d{number}", demo_bundle)]
    with Served(*bundles, wait=False) as served:
        time.sleep(0.15)
        assert served.end() == 0


def test_half_a_body_holds_up_nobody(bundle: tuple[str, str]) -> None:
    with Served(*bundle) as served, connect(served.url) as connection:
        connection.sendall(generation({"prompt": "a red star"})[:-5])
        time.sleep(0.2)
        started = time.monotonic()
        served.process.send_signal(signal.SIGTERM)
        answer = read_answer(connection)
        assert (answer.status, answer.error["code"]) == (503, "service_draining")
        assert served.process.wait(30) == 0
        assert time.monotonic() - started < 5


def test_a_stalled_reader_of_the_log_stalls_nothing(bundle: tuple[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mulo_sd.engines.serve", "--port", str(port), *bundle]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)  # a pipe of 64 kB
    try:
        url, ends_at = f"http://127.0.0.1:{port}", time.monotonic() + 60
        while True:
            try:
                if send(url, head("GET", "/ready")).status == 200:
                    break
            except OSError:
                assert time.monotonic() < ends_at
            time.sleep(0.05)
        for _ in range(500):
            assert send(url, head("GET", "/v1/models")).status == 200
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


def run(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a service that cannot begin."""
    command = [sys.executable, "-m", "mulo_sd.engines.serve", "--port", "0", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--bundle", "mine"], "bundle: expected NAME=DIR, such as demo=bundles/demo-fp32"),
        (["--bundle", "a b=x"], "bundle: expected NAME=DIR"),
        (["--bundle", "a=x", "--bundle", "a=y"], "bundle: expected a name of its own for each, got a twice"),
        (["--bundle", "a=/nowhere"], "/nowhere: expected a bundle"),
        (["--size", "0"], "size: expected greater than or equal to 1, got 0"),
        (["--config", "none.toml"], "none.toml: expected a file of options, found none"),
        (["--api-key-file", "none"], "api-key-file: none: expected a file of keys, found none"),
        (["--host", "nowhere.invalid"], "nowhere.invalid:0: cannot listen there"),
        (["--traces", "collector"], "traces: expected a URL such as"),
        (["--backend", "none:such"], "none"),
    ],
)
def test_it_cannot_begin(tmp_path: Path, arguments: list[str], message: str, minimal_bundle: Path) -> None:
    if "--backend" in arguments:
        arguments = [*arguments, *bundle_argument("a", minimal_bundle)]
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken(bundle: tuple[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run(*bundle, "--port", port)
    assert done.returncode == 2
    expected = f"error: 127.0.0.1:{port}: cannot listen there: Address already in use; give another --port\n"
    assert done.stderr == expected


def test_keys_open_what_costs(bundle: tuple[str, str], tmp_path: Path) -> None:
    key = "a-key-of-our-tests-0"
    (tmp_path / "keys").write_text(key + "\n")
    with Served(*bundle, "--api-key-file", str(tmp_path / "keys")) as served:
        assert generate(served.url, {"prompt": "a red star"}).status == 401
        assert generate(served.url, {"prompt": "a red star"}, authorization=f"Bearer {key}").status == 200
        for path, status in (("/v1/models", 401), ("/health", 200), ("/ready", 200), ("/metrics", 200), ("/", 200)):
            assert served.get(path)[0] == status
        wrong = openai.OpenAI(base_url=f"{served.url}/v1", api_key="another-key-of-16-letters")
        with pytest.raises(openai.AuthenticationError):
            wrong.images.generate(prompt="a red star")
        right = openai.OpenAI(base_url=f"{served.url}/v1", api_key=key)
        url = right.images.generate(prompt="a red star", response_format="url").data[0].url  # type: ignore[index]
        assert url is not None
        assert served.get(url.removeprefix(served.url))[0] == 200  # its name is a secret
        output = served.output
        assert key not in output
        assert "another-key" not in output


def test_urls_behind_a_proxy(bundle: tuple[str, str]) -> None:
    with Served(*bundle, "--public-url", "https://images.example.org/") as served:
        data = json.loads(generate(served.url, {"prompt": "a red star", "response_format": "url"}).body)["data"]
        assert data[0]["url"].startswith("https://images.example.org/v1/images/")
        assert served.get(data[0]["url"].removeprefix("https://images.example.org"))[0] == 200


def test_where_nothing_is_kept_no_url_is_promised(bundle: tuple[str, str]) -> None:
    with Served(*bundle, "--keep-mb", "0") as served:
        answer = generate(served.url, {"prompt": "a red star", "response_format": "url"})
        assert (answer.status, answer.error["param"]) == (400, "response_format")
        assert b"mulo_sd_images_total{" not in served.get("/metrics")[1]


def test_several_models_from_a_file(minimal_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "serve.toml"
    path.write_text(
        f'size = 1\nport = 1\nlog-format = "text"\n[bundles]\na = "{minimal_bundle}"\nb = "{minimal_bundle}"\n'
    )
    with Served("--config", str(path)) as served:  # whose --port comes first
        client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="any")
        assert [model.id for model in client.models.list()] == ["a", "b"]
        answers = [client.images.generate(prompt="a red star", model=model) for model in ("a", "b", None)]
        assert [(answer.model_extra or {})["mulo_sd"]["model"] for answer in answers] == ["a", "b", "a"]
        assert "info ready" in served.output


def test_a_full_queue_is_a_429_that_clients_wait_out(bundle: tuple[str, str]) -> None:
    async def draw(url: str) -> list[int]:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=20) as client:

            async def one(seed: int) -> int:
                answer = await client.images.with_raw_response.generate(
                    prompt="a red star", extra_body={"seed": seed, "mode": "eagle"}
                )
                return answer.retries_taken

            return await asyncio.gather(*(one(seed) for seed in range(6)))

    with Served(*bundle, "--size", "1", "--queue", "1") as served:
        retries = asyncio.run(draw(served.url))
        assert max(retries) > 0
        metrics = served.get("/metrics")[1].decode()
        assert 'mulo_sd_images_total{model="minimal"} 6.0' in metrics
        assert 'mulo_sd_requests_total{path="/v1/images/generations",status="429"}' in metrics


def test_the_log_is_json_without_prompts(service: Served) -> None:
    generate(service.url, {"prompt": "two red circles", "seed": 4}, x_request_id="of-the-log")
    ends_at = time.monotonic() + 5
    while "of-the-log" not in service.output:
        assert time.monotonic() < ends_at
        time.sleep(0.01)
    lines = [json.loads(line) for line in service.output.splitlines() if line.startswith("{")]
    mine = next(line for line in lines if line.get("request_id") == "of-the-log")
    assert (mine["status"], mine["path"], mine["model"]) == (200, "/v1/images/generations", "minimal")
    assert "circles" not in service.output
