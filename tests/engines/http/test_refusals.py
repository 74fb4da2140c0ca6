"""Whatever is wrong with a request, the answer is one error object with the right status."""

import socket
import struct
import time

import pytest

from mulo_sd.conformance.tools.serving.served import Served
from tests.engines.http.raw import GENERATIONS, connect, events, generate, generation, head, read_answer, send

GOOD = {"prompt": "a red star"}

REFUSED = [
    (b"", "invalid_json", None),
    (b"{", "invalid_json", None),
    (b"\xff\xfe", "invalid_json", None),
    (b"[1]", "invalid_json", None),
    (b'{"prompt": "a red star", "prompt": "a red star"}', "invalid_json", None),
    (b'{"prompt": "a red star", "tau": NaN}', "invalid_json", None),
    (b"[" * 10_000, "invalid_json", None),
    ({}, "missing_required_parameter", "prompt"),
    ({"prompt": 3}, "invalid_value", "prompt"),
    ({"prompt": ""}, "invalid_value", "prompt"),
    ({"prompt": "a star\0"}, "invalid_prompt", "prompt"),
    ({"prompt": "x" * 5000}, "invalid_value", "prompt"),
    (GOOD | {"n": 0}, "invalid_value", "n"),
    (GOOD | {"n": 11}, "invalid_value", "n"),
    (GOOD | {"n": "2"}, "invalid_value", "n"),
    (GOOD | {"n": True}, "invalid_value", "n"),
    (GOOD | {"size": "100000x10000"}, "invalid_value", "size"),
    (GOOD | {"size": "1024x1024"}, "invalid_value", "size"),
    (GOOD | {"seed": -1}, "invalid_value", "seed"),
    (GOOD | {"seed": 2**64}, "invalid_value", "seed"),
    (GOOD | {"seed": 2**64 - 1, "n": 2}, "invalid_value", "seed"),
    (GOOD | {"seed": 1.5}, "invalid_value", "seed"),
    (GOOD | {"quality": "ultra"}, "invalid_value", "quality"),
    (GOOD | {"quality": "fast", "preset": "passes"}, "invalid_value", "preset"),
    (GOOD | {"preset": "none such"}, "invalid_value", "preset"),
    (GOOD | {"output_format": "gif"}, "invalid_value", "output_format"),
    (GOOD | {"output_compression": 101}, "invalid_value", "output_compression"),
    (GOOD | {"output_compression": 50}, "invalid_value", "output_compression"),
    (GOOD | {"background": "transparent"}, "invalid_value", "background"),
    (GOOD | {"partial_images": 4, "stream": True}, "invalid_value", "partial_images"),
    (GOOD | {"partial_images": 1}, "invalid_value", "partial_images"),
    (GOOD | {"decode_steps": True}, "invalid_value", "decode_steps"),
    (GOOD | {"stream": True, "n": 2}, "invalid_value", "n"),
    (GOOD | {"stream": True, "response_format": "url"}, "invalid_value", "response_format"),
    (GOOD | {"deadline": 1e9}, "invalid_value", "deadline"),
    (GOOD | {"deadline": 0}, "invalid_value", "deadline"),
    (GOOD | {"tau": "low"}, "invalid_value", "tau"),
    (GOOD | {"tau": None}, "invalid_value", "tau"),
    (GOOD | {"tau": 1e300}, "invalid_value", "tau"),
    (GOOD | {"radius": 1.5}, "invalid_value", "radius"),
    (GOOD | {"mode": "magic"}, "invalid_value", "mode"),
    (GOOD | {"drafters": [5]}, "invalid_value", "drafters"),
    (GOOD | {"drafters": ["a"]}, "invalid_value", "drafters"),
    (GOOD | {"neighbours": 10**6}, "invalid_value", "neighbours"),
    (GOOD | {"frame_count": 2}, "unknown_parameter", "frame_count"),
    (GOOD | {"a name\nin lines": 2}, "unknown_parameter", "'a name\\nin lines'"),
]


@pytest.mark.parametrize(("content", "code", "param"), REFUSED, ids=lambda value: repr(value)[:40])
def test_a_bad_body(service: Served, content: object, code: str, param: str | None) -> None:
    answer = generate(service.url, content)
    assert answer.status == 400
    assert (answer.error["code"], answer.error["param"]) == (code, param)
    assert answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (head("GET", "/nowhere"), 404),
        (head("GET", "/v1/models/other"), 404),
        (head("GET", "/v1/images/none/content"), 404),
        (head("GET", "/v1/images/../../etc/passwd"), 404),
        (head("GET", "/v1/models/"), 404),
        (head("GET", GENERATIONS), 405),
        (head("DELETE", "/health"), 405),
        (head("OPTIONS", GENERATIONS, origin="http://elsewhere"), 405),
        (generation(GOOD, content_type="text/plain"), 415),
        (generation(GOOD, content_type="multipart/form-data; boundary=x"), 415),
        (generation(b"x" * 300_000), 413),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTQ/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        (head("POST", GENERATIONS, content_type="application/json", content_length="-1"), 400),
        (head("GET", "/" + "a" * 60_000), 404),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_request_that_is_none(service: Served, request_bytes: bytes, status: int) -> None:
    answer = send(service.url, request_bytes)
    assert answer.status == status
    assert answer.error["code"]
    assert "/work" not in answer.error["message"]
    assert "site-packages" not in answer.error["message"]


@pytest.mark.parametrize("path", ["/", "/health", "/ready"])
def test_probes_may_ask_for_the_head_alone(service: Served, path: str) -> None:
    answer = send(service.url, head("HEAD", path))
    assert (answer.status, answer.body) == (200, b"")


def test_a_page_of_another_site_may_not_ask(service: Served) -> None:
    """A browser asks before it sends JSON to another site, and is told nothing that lets it."""
    answer = send(service.url, head("OPTIONS", GENERATIONS, origin="http://elsewhere"))
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_every_answer_has_an_id(service: Served) -> None:
    own = generate(service.url, {}, x_request_id="mine-1")
    assert own.headers["x-request-id"] == "mine-1"
    for odd in ("two words", "a" * 200, "<b>"):
        answer = generate(service.url, {}, x_request_id=odd)
        assert len(answer.headers["x-request-id"]) == 32
    assert "x-request-id" in send(service.url, head("GET", "/nowhere")).headers


def test_a_late_answer_is_not_asked_for_again(service: Served) -> None:
    answer = generate(service.url, GOOD | {"deadline": 1e-4, "seed": 77})
    assert (answer.status, answer.error["code"]) == (504, "deadline_exceeded")
    assert answer.headers["x-should-retry"] == "false"


def test_settings_that_are_not_read_are_told(service: Served) -> None:
    answer = generate(service.url, GOOD | {"window": 3, "mode": "parallel"})
    assert answer.status == 200
    assert b'"not_read":["window"]' in answer.body


def test_a_stream_has_steps_and_no_error(service: Served) -> None:
    found = events(generate(service.url, GOOD | {"stream": True, "decode_steps": True, "seed": 5}))
    assert [name for name, _ in found][-1] == "image_generation.completed"
    frames = [content["frame"] for name, content in found if name == "mulo_sd.decode_step"]
    assert {frame["kind"] for frame in frames} >= {"draft", "proposal", "decided"}
    assert frames[-1]["decided"] == 64


def test_who_joins_a_finished_decode_sees_all_its_steps(service: Served) -> None:
    content = GOOD | {"stream": True, "decode_steps": True, "seed": 6, "mode": "ar", "sweep_width": 1}
    first, again = (events(generate(service.url, content)) for _ in range(2))
    titles = [content["frame"]["title"] for name, content in again if name == "mulo_sd.decode_step"]
    assert len(titles) == 64  # one cell at a time; the first one needs no pass
    shown = [content["frame"]["title"] for name, content in first if name == "mulo_sd.decode_step"]
    assert set(shown) <= set(titles)


def test_a_client_that_goes_away_frees_its_place(service: Served) -> None:
    """Many more than the service holds: if they stayed, the last one would be refused."""
    for number in range(80):
        with connect(service.url) as connection:
            slow = GOOD | {"seed": 10_000 + number, "mode": "ar", "sweep_width": 1, "stream": number % 2 == 0}
            connection.sendall(generation(slow))
            if number % 3 == 0:  # as a killed process: reset
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if number % 2:
                time.sleep(0.005)
    assert generate(service.url, GOOD | {"seed": 20_000}).status == 200
    ends_at = time.monotonic() + 5
    while b'mulo_sd_places_in_use{model="minimal"} 0.0' not in service.get("/metrics")[1]:
        assert time.monotonic() < ends_at
        time.sleep(0.01)


def test_a_body_in_pieces(service: Served) -> None:
    request = generation(GOOD)
    with connect(service.url) as connection:
        for place in range(0, len(request), 7):
            connection.sendall(request[place : place + 7])
        assert read_answer(connection).status == 200
