"""A path that no file system takes is an error of the reader's own, in one line."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mulo_sd import engines
from mulo_sd.conformance.calibrate.prompts import PromptFileError, read_prompts
from mulo_sd.conformance.known_failures import KnownFailuresError, read_known_failures
from mulo_sd.engines.commands.layouts import LayoutError, read_tasks
from mulo_sd.engines.conditions.file import load_condition
from mulo_sd.engines.prompts import load_plan
from mulo_sd.reference.checkpoints.vq import load_vq
from mulo_sd.reference.weights import WeightsError, load_tokenizer

LONG = Path("a" * 300)


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (engines.load, engines.BundleError),
        (load_condition, engines.ConditionError),
        (load_plan, engines.PlanError),
        (lambda path: read_tasks("plain", path), LayoutError),
        (lambda path: read_tasks("dpg", path), LayoutError),
        (load_tokenizer, WeightsError),
        (load_vq, WeightsError),
        (read_prompts, PromptFileError),
        (read_known_failures, KnownFailuresError),
    ],
)
def test_a_name_that_is_too_long(read: Callable[[Path], object], error: type[ValueError]) -> None:
    with pytest.raises(error) as caught:
        read(LONG)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith("a" * 300)
