"""What Triton draws is what the direct API draws: alone, three at once, with partial images, over gRPC."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mulo_sd import engines
from mulo_sd.conformance.tools.serving.tritonserver import TritonServer
from mulo_sd.engines.ingress.formats import encoded

PROMPT = "a red star"


def pixels(pipeline: engines.Pipeline, prompt: str, seed: int, **options: Any) -> list[int]:
    """Return the expected image as Triton's JSON holds it."""
    return np.asarray(pipeline.generate(prompt, seed, **options).image).ravel().tolist()


@pytest.mark.parametrize(
    ("seed", "settings"),
    [
        (0, {}),
        (7, {"mode": "ar"}),
        (2**64 - 1, {"mode": "exact"}),
        (3, {"mode": "parallel", "tau": 0.1, "radius": 2}),
    ],
)
def test_an_image(server: TritonServer, pipeline: engines.Pipeline, seed: int, settings: dict[str, Any]) -> None:
    answers = list(server.draw("minimal", prompt=PROMPT, seed=seed, settings=json.dumps(settings)))
    assert len(answers) == 1
    assert answers[0]["IMAGE"] == pixels(pipeline, PROMPT, seed, **settings)
    assert (answers[0]["FINAL"], answers[0]["PARTIAL"]) == (True, -1)
    stats = json.loads(bytes(answers[0]["STATS"]))
    assert stats["mulo_sd"]["images"][0]["seed"] == seed
    assert stats["mulo_sd"]["passes"]["target"] > 0
    for name, value in settings.items():
        assert stats["mulo_sd"]["settings"][name] == value


def test_nothing_but_a_prompt(server: TritonServer, pipeline: engines.Pipeline) -> None:
    assert next(server.draw("minimal", prompt=PROMPT))["IMAGE"] == pixels(pipeline, PROMPT, 0)


def test_an_image_alone_needs_no_stream(server: TritonServer, pipeline: engines.Pipeline) -> None:
    status, body = server.get("/v2/models/minimal/generate", {"PROMPT": list(PROMPT.encode()), "SEED": 5})
    assert status == 200
    assert json.loads(body)["IMAGE"] == pixels(pipeline, PROMPT, 5)


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_a_file(server: TritonServer, pipeline: engines.Pipeline, output_format: Any) -> None:
    asked = {"output_format": output_format}
    answer = next(server.draw("minimal", prompt=PROMPT, seed=1, settings=json.dumps(asked)))
    assert "IMAGE" not in answer
    assert bytes(answer["FILE"]) == encoded(pipeline.generate(PROMPT, 1).image, output_format)


def test_three_clients_at_once(server: TritonServer, pipeline: engines.Pipeline) -> None:
    orders = [(prompt, seed) for seed in range(10, 16) for prompt in (PROMPT, "two green squares", "a blue circle")]

    def draw(order: tuple[str, int]) -> list[int]:
        image: list[int] = next(server.draw("minimal", prompt=order[0], seed=order[1]))["IMAGE"]
        return image

    with ThreadPoolExecutor(3) as clients:
        drawn = list(clients.map(draw, orders))
    assert drawn == [pixels(pipeline, *order) for order in orders]


def test_the_same_twice_is_drawn_once(server: TritonServer) -> None:
    first, second = (next(server.draw("minimal", prompt=PROMPT, seed=77)) for _ in range(2))
    assert first["IMAGE"] == second["IMAGE"]
    seconds = [json.loads(bytes(answer["STATS"]))["mulo_sd"]["seconds"] for answer in (first, second)]
    assert seconds[0] == seconds[1]


def test_partial_images(server: TritonServer, pipeline: engines.Pipeline) -> None:
    answers = list(server.draw("minimal", prompt=PROMPT, seed=8, settings='{"mode": "ar"}', partial_images=3))
    assert [answer["PARTIAL"] for answer in answers] == [0, 1, 2, -1]
    assert [answer["FINAL"] for answer in answers] == [False, False, False, True]
    grey = [answer["IMAGE"].count(128) for answer in answers]
    assert grey == sorted(grey, reverse=True)
    assert grey[0] > grey[-1]
    assert answers[-1]["IMAGE"] == pixels(pipeline, PROMPT, 8, mode="ar")
    assert all("STATS" not in answer for answer in answers[:-1])


def test_the_client_example(server: TritonServer, pipeline: engines.Pipeline, repository: Path, tmp_path: Path) -> None:
    """As the page runs it: over gRPC, streamed, with files."""
    shutil.copy(repository / "client.py", tmp_path)
    done = server.environments.python("client.py", server.grpc, "minimal", PROMPT, "9", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    partial = sorted(path.name for path in tmp_path.glob("partial_*.png"))
    assert [line.split()[0] for line in done.stdout.splitlines()] == [*partial, "image.png"]
    assert (tmp_path / "partial_0.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "image.png").read_bytes() == encoded(pipeline.generate(PROMPT, 9).image, "png")


def test_an_error_of_the_client_example(server: TritonServer, repository: Path, tmp_path: Path) -> None:
    client = str(repository / "client.py")
    done = server.environments.python(client, server.grpc, "minimal", "a nonsensical star", cwd=tmp_path)
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (1, "", [])
    assert done.stderr.startswith("error: invalid_prompt: prompt: unknown word 'nonsensical'")
    assert len(done.stderr.splitlines()) == 1
    assert server.environments.python(client).stderr.startswith("python client.py HOST:PORT MODEL")
