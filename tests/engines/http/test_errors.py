"""What a client learns of an error: its own mistakes in full, of the server's that there is one."""

import json

import pytest

from mulo_sd.engines import BackendError, ConditionError, PlanError, PromptError, SettingsError
from mulo_sd.engines.http.responses import error_response
from mulo_sd.engines.ingress import errors

OWN = [
    (PromptError("prompt: unknown word 'x'"), "invalid_prompt", "prompt"),
    (PlanError("plan: expected none"), "invalid_prompt", "prompt"),
    (SettingsError("tau: expected a number, got 'x'"), "invalid_value", "tau"),
    (SettingsError("two words: expected none"), "invalid_value", None),
]


@pytest.mark.parametrize(("error", "code", "param"), OWN)
def test_a_mistake_of_the_client(error: Exception, code: str, param: str | None) -> None:
    answer = errors.of_engine(error, "r1")
    assert (answer.status, answer.code, answer.param, str(answer)) == (400, code, param, str(error))


@pytest.mark.parametrize("kind", [BackendError, ConditionError, MemoryError, KeyError, OSError])
def test_a_failure_of_the_server(kind: type[Exception]) -> None:
    answer = errors.of_engine(kind("/secret/path.onnx: it cannot be run"), "r1")
    assert (answer.status, answer.code) == (500, "engine_failed")
    assert "secret" not in str(answer)
    assert "r1" in str(answer)


def test_what_would_fail_again_is_not_asked_again() -> None:
    useless = [errors.of_engine(BackendError("x"), "r"), errors.of_defect("r"), errors.deadline_passed(3)]
    assert [answer.headers.get("x-should-retry") for answer in useless] == ["false"] * 3
    useful = [errors.not_ready("loading"), errors.queue_full("m", 3, 7), errors.too_many_requests(1000)]
    assert [answer.headers["retry-after"] for answer in useful] == ["2", "7", "2"]
    assert not any("x-should-retry" in answer.headers for answer in useful)


def test_the_body_is_one_object() -> None:
    answer = errors.queue_full("m", 3, 7)
    response = error_response(answer)
    assert (response.status_code, response.headers["retry-after"]) == (429, "7")
    assert json.loads(bytes(response.body)) == answer.body()
    assert set(answer.body()["error"]) == {"message", "type", "param", "code"}
    assert errors.one_line(ValueError("two\n lines")) == "two lines"
