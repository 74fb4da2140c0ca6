"""What each front end finds out about a prompt before anything is drawn, without loading a text model."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from mulo_sd.engines.commands.layouts import Task, faults_of_prompts
from mulo_sd.engines.condition import ConditionError
from mulo_sd.engines.conditions.captions import CaptionFrontEnd
from mulo_sd.engines.conditions.classes import ClassFrontEnd
from mulo_sd.engines.conditions.demo import DemoFrontEnd
from mulo_sd.engines.conditions.front_end import FrontEnd
from mulo_sd.engines.conditions.semantic import SemanticFrontEnd

BUNDLE = cast(Any, SimpleNamespace(manifest=SimpleNamespace(target=None), null_conditions=[np.array([[1000]])]))


def front_ends() -> dict[str, FrontEnd]:
    demo = DemoFrontEnd.__new__(DemoFrontEnd)  # a bundle's grammar has no part in a check
    return {
        "demo": demo,
        "class": ClassFrontEnd(BUNDLE),
        "caption": CaptionFrontEnd(BUNDLE, "no-such-model"),
        "semantic": SemanticFrontEnd(BUNDLE, cast(Any, None), "no-such-model"),
    }


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        ("demo", "a red star", ["a dog", "", "a \ud800"]),
        ("class", "goldfish", ["1000", "no such animal", " "]),
        ("caption", "a dog", ["<br>", "", "a" * 4001, "a \udcff"]),
        ("semantic", "a dog", ["\u200b", "a" * 4001, "a\x00b"]),
    ],
)
def test_all_prompts_are_checked(kind: str, right: str, wrong: list[str]) -> None:
    tasks = [Task(prompt, (), where=f"line {number}") for number, prompt in enumerate([right, *wrong])]
    found = faults_of_prompts(tasks, front_ends()[kind].check)
    assert [line.partition(":")[0] for line in found] == [f"line {number + 1}" for number in range(len(wrong))]


def test_without_a_text_model_no_prompt_is_blamed() -> None:
    for front_end in (CaptionFrontEnd(BUNDLE, None), SemanticFrontEnd(BUNDLE, cast(Any, None), None)):
        with pytest.raises(ConditionError, match="--text-model"):
            faults_of_prompts([Task("a dog", ())], front_end.check)
