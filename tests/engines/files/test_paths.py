"""Paths from outside: `~` is the home folder for every command and every function that takes a path."""

import argparse
import ast
from pathlib import Path

import numpy as np
import pytest

from mulo_sd import processes
from mulo_sd.engines import load
from mulo_sd.engines.bundle import BundleError, open_bundle
from mulo_sd.engines.commands.demo_bundle import ENVIRONMENT_VARIABLE, bundle_path
from mulo_sd.engines.commands.layouts import read_tasks
from mulo_sd.engines.condition import Condition, ConditionError
from mulo_sd.engines.conditions import load_condition, save_condition
from mulo_sd.engines.files.paths import expanded, user_path
from mulo_sd.engines.prompts import PlanError, load_plan, make_plan, parse, save_plan

ROOT = Path(processes.ROOT)
FOLDERS = ("engines", "export", "conformance", "reference", "docs")


def test_no_parser_takes_a_path_as_it_is() -> None:
    """The `type` that argparse or pytest has of a path is user_path, in every command of the project."""
    found, wrong = 0, []
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                for keyword in node.keywords:
                    if keyword.arg != "type":
                        continue
                    text = ast.unparse(keyword.value)
                    found += text == "user_path"
                    if "Path" in text:
                        wrong.append(f"{file.relative_to(ROOT)}:{node.lineno}: type={text}")
    assert wrong == []
    assert found >= 40


def test_a_path_of_an_option(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_path("~/a b/é.png") == tmp_path / "a b" / "é.png"
    assert user_path("~") == tmp_path
    assert user_path("a/~") == Path("a/~")
    assert user_path("~root/a").is_absolute()
    for text, told in (("", "empty"), ("  ", "empty"), ("~no-such-user/a", "no home folder"), ("a\0b", "NUL")):
        with pytest.raises(argparse.ArgumentTypeError, match=told):
            user_path(text)
    assert expanded("~no-such-user/a") == Path("~no-such-user/a")


def test_functions_that_take_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    condition = Condition(np.zeros((2, 3), dtype=np.float32))
    save_condition(condition, "~/condition.npz")
    assert (tmp_path / "condition.npz").is_file()
    assert isinstance(load_condition(Path("~/condition.npz")), Condition)
    plan = make_plan(parse("a red circle"), 0)
    save_plan(plan, "~/plan.json")
    assert load_plan(Path("~/plan.json")) == plan
    (tmp_path / "prompts.txt").write_text("a red circle\n")
    assert [task.prompt for task in read_tasks("plain", "~/prompts.txt")] == ["a red circle"]
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "~/bundles")
    assert bundle_path("demo", "fp32") == tmp_path / "bundles" / "demo-fp32"


def test_messages_name_the_whole_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for read, error in ((open_bundle, BundleError), (load, BundleError), (load_condition, ConditionError)):
        with pytest.raises(error, match=str(tmp_path)):
            read("~/nothing")
    with pytest.raises(PlanError, match=str(tmp_path)):
        load_plan("~/nothing.json")
