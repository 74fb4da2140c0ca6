"""Bad inputs of every field get one line each, and the server lives on."""

import json
from typing import Any

import pytest

from mulo_sd.conformance.tools.serving.tritonserver import TritonServer

PROMPT = "a red star"
# Of the model: the line begins so.
OURS: list[tuple[dict[str, Any], str]] = [
    ({"prompt": "a nonsensical star"}, "invalid_prompt: prompt: unknown word 'nonsensical'"),
    ({"prompt": ""}, "invalid_value: prompt: expected string should have at least 1 character, got ''"),
    ({"prompt": "a" * 5000}, "invalid_value: prompt: expected at most 4000 characters, got 5000"),
    ({"prompt": "a" * 200_000}, "invalid_value: prompt: expected at most 128000 bytes, got 200000"),
    ({"prompt": [97, 255, 97]}, "invalid_value: prompt: expected UTF-8, got another byte at 1"),
    ({"partial_images": 4}, "invalid_value: partial_images: expected less than or equal to 3, got 4"),
    ({"partial_images": -1}, "invalid_value: partial_images: expected greater than or equal to 0, got -1"),
    ({"deadline": 0}, "invalid_value: deadline: expected greater than 0, got 0.0"),
    ({"deadline": 31}, "invalid_value: deadline: expected at most 30 seconds, got 31"),
    ({"settings": "{"}, "invalid_json: settings: expected a JSON object: "),
    ({"settings": "[1]"}, "invalid_json: settings: expected a JSON object: got list"),
    ({"settings": '{"tau": NaN}'}, "invalid_json: settings: expected a JSON object: it holds NaN"),
    ({"settings": '{"tau": 1, "tau": 2}'}, "invalid_json: settings: expected a JSON object: it names 'tau' twice"),
    ({"settings": [255]}, "invalid_value: settings: expected UTF-8, got another byte at 0"),
    ({"settings": '{"radius": -1}'}, "invalid_value: radius: expected "),
    ({"settings": '{"mode": "x"}'}, "invalid_value: mode: expected "),
    ({"settings": '{"taus": 1}'}, "unknown_parameter: taus: "),
    ({"settings": '{"n": 2}'}, "unknown_parameter: n: expected quality, preset, output_format, output_compression or"),
    ({"settings": '{"seed": 2}'}, "unknown_parameter: seed: expected quality, "),
    ({"settings": '{"quality": "x"}'}, "invalid_value: quality: expected 'fast', "),
    ({"settings": '{"preset": "x"}'}, "invalid_value: preset: expected "),
    ({"settings": '{"output_format": "gif"}'}, "invalid_value: output_format: expected 'png', 'jpeg' or 'webp', got"),
    ({"settings": '{"output_format": "png", "output_compression": 5}'}, "invalid_value: output_compression: "),
]
# Of Triton itself, before the model is asked: what is no number of the tensor's type, or not one number.
TRITONS: list[dict[str, Any]] = [
    {"SEED": -1},
    {"SEED": 1.5},
    {"SEED": "x"},
    {"SEED": [1, 2]},
    {"SEED": 2**64},
    {"PARTIAL_IMAGES": [1, 2]},
    {"PARTIAL_IMAGES": "x"},
    {"DEADLINE": "soon"},
    {"PROMPT": "a red star"},
    {"SETTINGS": {"tau": 1}},
]


@pytest.mark.parametrize(("fields", "line"), OURS, ids=lambda value: str(value)[:40])
def test_a_bad_input(server: TritonServer, fields: dict[str, Any], line: str) -> None:
    error = server.error("minimal", **{"prompt": PROMPT, **fields})
    assert error.startswith(line)
    assert "\n" not in error
    assert "/" not in error.replace("docs/semantics.md", "")  # no path of the server's


@pytest.mark.parametrize("fields", TRITONS, ids=str)
def test_what_triton_refuses(server: TritonServer, fields: dict[str, Any]) -> None:
    status, body = server.get("/v2/models/minimal/generate_stream", {"PROMPT": list(PROMPT.encode()), **fields})
    assert status == (400 if [1, 2] in fields.values() else 500), body  # 400: its shape alone is wrong
    assert len(json.loads(body)["error"].splitlines()) == 1


def test_generate_with_partial_images(server: TritonServer) -> None:
    """Triton's error comes as a success."""
    status, body = server.get("/v2/models/minimal/generate", {"PROMPT": list(PROMPT.encode()), "PARTIAL_IMAGES": 2})
    assert status == 200
    assert json.loads(body)["error"].startswith("generate expects model to produce exactly 1 response")


def test_bytes_above_255(server: TritonServer) -> None:
    """Triton takes them modulo 256 before the model sees them."""
    wrapped = [byte + 256 for byte in PROMPT.encode()]
    first, second = (next(server.draw("minimal", prompt=prompt, seed=5)) for prompt in (PROMPT, wrapped))
    assert first["IMAGE"] == second["IMAGE"]


def test_the_server_lives_on(server: TritonServer) -> None:
    """After all of them; the order of tests in a file is the file's."""
    assert "IMAGE" in next(server.draw("minimal", prompt=PROMPT))
    assert server.get("/v2/models/minimal/ready")[0] == 200


def test_no_prompt(server: TritonServer) -> None:
    _, body = server.get("/v2/models/minimal/generate_stream", {"SEED": 1})
    assert body == b'data: {"error":"missing_required_parameter: prompt: expected a value, got none"}\n\n'
