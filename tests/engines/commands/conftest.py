"""A run over many prompts, with small random models."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mulo_sd.engines.commands.draw_many import Run
from mulo_sd.engines.commands.layouts import Task
from mulo_sd.engines.service.load import load
from mulo_sd.engines.service.pipeline import Pipeline
from tests.engines.commands.runs import QUICK


@pytest.fixture(scope="module")
def pipeline(minimal_bundle: Path) -> Pipeline:
    """Small random models, which understand the demo's prompts."""
    return load(minimal_bundle)


@pytest.fixture
def start(pipeline: Pipeline, tmp_path: Path) -> Callable[..., Run]:
    """Begin a folder, or go on with it."""

    def make(tasks: list[Task], seed: int = 3, **changes: object) -> Run:
        return Run(pipeline, pipeline.settings(**(QUICK | changes)), seed, tasks, tmp_path / "images")

    return make
