"""/openapi.json is what the service does: schemathesis makes requests of it, right and wrong, and judges answers."""

import json
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import BaseSchema, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Err
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from mulo_sd.conformance.tools.serving.served import Served
from mulo_sd.engines.ingress.image_request import RequestFields
from mulo_sd.engines.settings import SETTINGS
from tests.engines.http.raw import GENERATIONS

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
]


OPERATIONS = (
    ("/v1/images/generations", "POST"),
    ("/v1/images/{name}/content", "GET"),
    ("/v1/models", "GET"),
    ("/v1/models/{name}", "GET"),
    ("/health", "GET"),
    ("/ready", "GET"),
    ("/metrics", "GET"),
)


@pytest.fixture(scope="module")
def api(service: Served) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{service.url}/openapi.json")


def test_these_are_all_operations(api: BaseSchema) -> None:
    found = [result.ok() for result in api.get_all_operations() if not isinstance(result, Err)]
    assert sorted((operation.path, operation.method.upper()) for operation in found) == sorted(OPERATIONS)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_answers_are_as_declared(api: BaseSchema, path: str, method: str, mode: GenerationMode) -> None:
    """Whatever is sent, right or wrong: no answer is a failure of the server, and each is of its schema."""
    operation = api[path][method]
    if mode.is_negative and not operation.body:
        return  # there is nothing that could be wrong
    statuses = []

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=60 if operation.body else 10,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def answers(case: schemathesis.Case[Any]) -> None:
        if isinstance(case.body, dict) and not mode.is_negative:
            # Of a prompt that is understood, and few enough fields that some fit together.
            chosen = sorted(case.body)[:: max(1, len(case.body) // 3)]
            case.body = {name: case.body[name] for name in chosen} | {"prompt": "a red star", "deadline": 20}
        statuses.append(case.call_and_validate(checks=CHECKS, timeout=60).status_code)

    answers()
    assert mode.is_negative or "{" in path or 200 in statuses


def test_every_field_and_every_setting_is_declared(service: Served) -> None:
    api = json.loads(service.get("/openapi.json")[1])
    body = api["paths"][GENERATIONS]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(body["properties"]) == {*RequestFields.model_fields, *SETTINGS}
    assert body["additionalProperties"] is False
    assert body["required"] == ["prompt"]
    assert all(field.get("description") for field in body["properties"].values())


def test_the_page_of_docs_names_them_all(service: Served) -> None:
    status, page = service.get("/docs")
    assert status == 200
    text = page.decode()
    assert all(f"<code>{name}</code>" in text for name in (*RequestFields.model_fields, *SETTINGS))
    assert "<script" not in text
    assert "http" not in text.replace("HTTP", "").replace("OpenAPI", "")
