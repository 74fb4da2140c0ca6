"""Toy models, a condition of theirs, and pipelines over backends of several kinds."""

from collections.abc import Iterator, Mapping

import pytest
import torch

from mulo_sd.engines.condition import Condition
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.reference.models import Models
from tests.engines.service.toy_session import toy_condition, toy_models, toy_pipelines


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def models() -> Models:
    return toy_models()


@pytest.fixture(scope="module")
def condition(models: Models) -> Condition:
    return toy_condition(models)


@pytest.fixture(scope="module")
def pipelines(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Pipeline]:
    return toy_pipelines(models, tmp_path_factory.mktemp("session"))


@pytest.fixture(params=["pools", "few", "no pools"])
def pipeline(request: pytest.FixtureRequest, pipelines: Mapping[str, Pipeline]) -> Pipeline:
    return pipelines[request.param]
