"""What ends early, or has to wait: cancelled requests, late ones, a full queue, unloading, kills."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mulo_sd import engines
from mulo_sd.conformance.tools.serving.tritonserver import Environments, TritonServer, free_port, processes_of

PROMPT = "a red star"
# 1,024 passes of the demo, seconds on any machine; the other one takes a few.
LONG, SHORT = '{"mode": "ar"}', '{"quality": "fast"}'
# Asks for a long image, and leaves after its first partial one when it reads a line; prints when that was.
LEAVE = """
import sys, time
sys.path.insert(0, sys.argv[1])
import client, tritonclient.grpc as triton
with triton.InferenceServerClient(sys.argv[2]) as server:
    drawing = client.images(server, "narrow", "a red star", int(sys.argv[3]), {"mode": "ar", "output_format": "png"})
    next(drawing)
    print("drawing", flush=True)
    sys.stdin.readline()
    print(time.time(), flush=True)
    drawing.close()
"""
# Gives Triton's own field a request's time, in microseconds; prints the error.
LATE = """
import queue, sys
sys.path.insert(0, sys.argv[1])
import client, tritonclient.grpc as triton
answers = queue.Queue()
with triton.InferenceServerClient(sys.argv[2]) as server:
    server.start_stream(lambda result, error: answers.put(error))
    inputs = [client.text("PROMPT", "a red star"), client.text("SETTINGS", '{"mode": "ar"}')]
    server.async_stream_infer("narrow", inputs, timeout=300_000)
    print(answers.get(timeout=20).message())
"""


class LongDrawing:
    """A long image that is on its way in a thread."""

    def __init__(self, server: TritonServer, seed: int, **fields: Any) -> None:
        self.answers: list[dict[str, Any]] = []
        self.begun = threading.Event()

        def draw() -> None:
            fields_of = {"prompt": PROMPT, "seed": seed, "settings": LONG, "partial_images": 3, **fields}
            for answer in server.draw("narrow", **fields_of):
                self.answers.append(answer)
                self.begun.set()

        self.thread = threading.Thread(target=draw, daemon=True)
        self.thread.start()
        assert self.begun.wait(30)


class Waiting:
    """A short image that waits for a place, asked for in a thread that somebody starts.

    Its drawing began between `begun`, which is early by the milliseconds that the request was on its way, since the
    server counts a wait from the request's arrival, and `latest`, which is late by those of the answer.
    """

    def __init__(self, server: TritonServer, seed: int) -> None:
        self.begun = self.latest = 0.0

        def draw() -> None:
            asked = time.time()
            answer = next(server.draw("narrow", prompt=PROMPT, seed=seed, settings=SHORT))
            self.latest = time.time() - stats(answer)["seconds"]
            self.begun = asked + stats(answer)["waited_seconds"]

        self.thread = threading.Thread(target=draw, daemon=True)


def stats(answer: dict[str, Any]) -> dict[str, Any]:
    """Return what an answer says of its image."""
    assert "STATS" in answer, answer
    figures: dict[str, Any] = json.loads(bytes(answer["STATS"]))["mulo_sd"]
    return figures


def test_a_client_that_cancels_frees_its_place(server: TritonServer, repository: Path) -> None:
    """Within a few passes, though hundreds of them were left: the one that waits begins."""
    whole = stats(next(server.draw("narrow", prompt=PROMPT, seed=1, settings=LONG)))
    a_pass = whole["seconds"] / whole["passes"]["target"]
    waiting = Waiting(server, 3)
    python = str(server.environments.server / "bin" / "python")
    command = [python, "-c", LEAVE, str(repository), server.grpc, "2"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as leaving:
        assert leaving.stdout is not None
        assert leaving.stdout.readline() == "drawing\n"
        waiting.thread.start()
        time.sleep(0.1)
        left = float(leaving.communicate("\n", timeout=30)[0])
    waiting.thread.join(30)
    passes = (waiting.begun - left) / a_pass
    print(f"{passes:.1f} passes of {a_pass * 1000:.1f} ms after the client left")
    assert waiting.latest > left
    assert passes < 100  # of which a busy machine's threads and sockets take most; 500 and more were left


def test_a_full_queue_refuses(server: TritonServer) -> None:
    drawing, waiting = LongDrawing(server, 4), Waiting(server, 5)
    waiting.thread.start()
    time.sleep(0.2)
    error = server.error("narrow", prompt=PROMPT, seed=6)
    assert error.startswith("queue_full: queue: expected room, got none: narrow is drawing, and 1 images wait; try")
    drawing.thread.join(30)
    waiting.thread.join(30)
    assert waiting.begun
    assert "IMAGE" in drawing.answers[-1]


def test_a_deadline(server: TritonServer) -> None:
    error = server.error("narrow", prompt=PROMPT, seed=6, settings=LONG, deadline=0.3)
    assert error.startswith("deadline_exceeded: deadline: expected the images within 0.3 s, got none in time")
    assert stats(next(server.draw("narrow", prompt=PROMPT, seed=7, settings=SHORT)))["waited_seconds"] < 1


def test_a_kept_image_needs_no_time(server: TritonServer) -> None:
    """A drawing of seconds, asked for again with a deadline of a fraction of one."""
    drawn, again = (
        next(server.draw("narrow", prompt=PROMPT, seed=13, settings=LONG, deadline=deadline)) for deadline in (60, 0.3)
    )
    assert stats(drawn)["seconds"] > 0.3
    assert again["IMAGE"] == drawn["IMAGE"]


def test_tritons_own_timeout_is_a_deadline(server: TritonServer, repository: Path) -> None:
    done = server.environments.python("-c", LATE, str(repository), server.grpc)
    assert done.stdout.startswith("deadline_exceeded: deadline: expected the images within 0.3 s"), done.stderr


def test_a_drawing_ends_before_its_model_is_unloaded(server: TritonServer) -> None:
    drawing = LongDrawing(server, 8)
    assert server.control("unload", "narrow")[0] == 200
    drawing.thread.join(30)
    assert drawing.answers[-1]["FINAL"] is True
    assert "no available versions" in server.error("narrow", prompt=PROMPT)
    assert server.control("load", "narrow")[0] == 200
    assert "IMAGE" in next(server.draw("narrow", prompt=PROMPT, seed=9, settings=SHORT))


@pytest.fixture
def own_server(environments: Environments, repository: Path) -> Iterator[TritonServer]:
    """A server that a test may end."""
    with TritonServer(environments, repository, "minimal") as served:
        yield served


def test_sigterm(own_server: TritonServer) -> None:
    """What is drawn is answered, the model ends in order, and no process is left."""
    assert own_server.control("load", "narrow")[0] == 200
    drawing = LongDrawing(own_server, 10)
    assert len(own_server.processes("triton_python_backend_stub")) == 2
    assert own_server.end(signal.SIGTERM) == 0
    drawing.thread.join(10)
    assert drawing.answers[-1]["FINAL"] is True
    assert own_server.processes() == []


def test_a_killed_stub(own_server: TritonServer, pipeline: engines.Pipeline) -> None:
    """The server lives, refuses in a line, and draws again once the model is loaded anew."""
    (stub,) = own_server.processes("triton_python_backend_stub")
    os.kill(stub, signal.SIGKILL)
    asked = {"PROMPT": list(PROMPT.encode()), "SEED": 11}
    started = time.monotonic()
    status, body = own_server.get("/v2/models/minimal/generate", asked)
    assert status >= 400
    assert json.loads(body)["error"] == "Stub process 'minimal_0_0' is not healthy."
    assert time.monotonic() - started < 20
    assert own_server.get("/v2/health/live")[0] == 200
    assert [own_server.control(action, "minimal")[0] for action in ("unload", "load")] == [200, 200]
    status, body = own_server.get("/v2/models/minimal/generate", asked)
    expected = np.asarray(pipeline.generate(PROMPT, 11).image).ravel().tolist()
    assert (status, json.loads(body)["IMAGE"]) == (200, expected)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing tells a process that its parent died")
def test_run_triton_is_killed(environments: Environments, repository: Path, tmp_path: Path) -> None:
    """Its server and the stub end, too, though nobody could end them."""
    assert environments
    ports = [word for kind in ("http", "grpc") for word in (f"--{kind}-port", str(free_port()))]
    words = ["--repository", str(repository), "--model", "minimal", *ports]
    command = [sys.executable, "-m", "mulo_sd.conformance.tools.run_triton", *words]
    log = (tmp_path / "log").open("wb")
    with log, subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | {"TMPDIR": str(tmp_path)}) as runner:
        try:
            children = Path(f"/proc/{runner.pid}/task/{runner.pid}/children")
            _until(lambda: b"Started HTTPService" in (tmp_path / "log").read_bytes(), runner)
            (session,) = map(int, children.read_text().split())
            assert len(processes_of(session, "triton_python_backend_stub")) == 1
        finally:
            runner.kill()
    try:
        _until(lambda: not processes_of(session))
    finally:
        for left in processes_of(session):
            os.kill(left, signal.SIGKILL)


def _until(is_so: Callable[[], bool], process: subprocess.Popen[bytes] | None = None) -> None:
    ends_at = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < ends_at
        assert process is None or process.poll() is None
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("bundle", "codes.npy: expected sha256 "),
        ("manifest", "expected the bundle that config.pbtxt was written for, got another one; write the repository"),
        ("word", "size: expected a number, got 'many'"),
    ],
)
def test_a_model_that_cannot_be_loaded(server: TritonServer, repository: Path, change: str, line: str) -> None:
    """Its repository was changed: the load is refused with a line that says how."""
    folder = shutil.copytree(repository / "minimal", repository / f"changed_{change}")
    config = folder / "config.pbtxt"
    text = config.read_text().replace('name: "minimal"', f'name: "changed_{change}"')
    inside = folder / "1" / "bundle"
    if change == "bundle":
        content = bytearray((inside / "codes.npy").read_bytes())
        content[-1] ^= 1
        (inside / "codes.npy").write_bytes(content)
    elif change == "manifest":
        manifest = inside / "manifest.json"
        manifest.write_text(manifest.read_text() + " ")
    else:
        text = text.replace('string_value: "3"', 'string_value: "many"')
    config.write_text(text)
    status, body = server.control("load", folder.name)
    shutil.rmtree(folder)
    assert status == 400
    assert line in json.loads(body)["error"]
