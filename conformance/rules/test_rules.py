"""One name for three things: a rule of docs/semantics.md, a class whose docstring it is, and its functions."""

import importlib
import pkgutil
import re
from pathlib import Path

import pytest

from mulo_sd import conformance
from mulo_sd.conformance.rules_of_tests import ALL_RULES, rule_of_class

PAGE = Path(__file__).resolve().parents[2] / "docs" / "semantics.md"
pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the page of rules lies in the repository, not in a package")
STATED_FOR_ENGINES = re.compile(r"CONF-\d")


def rules_on_the_page() -> dict[str, str]:
    """Return the rules and their texts, in which every run of white space is one space."""
    found: dict[str, list[str]] = {}
    lines: list[str] | None = None
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        head = re.match(r"- \*\*([A-Z]+-\w+|PREFILL)\*\* (.*)", line)
        if head:
            lines = found.setdefault(head[1], [])
            lines.append(head[2])
        elif lines is not None and line.startswith("  "):
            lines.append(line)
        else:
            lines = None
    return {rule: " ".join(" ".join(lines).split()) for rule, lines in found.items()}


def functions_on_the_page() -> dict[str, list[str]]:
    """Return the functions of the reference that the page names for each rule."""
    table = PAGE.read_text(encoding="utf-8").partition("## Where each rule lives")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([A-Z][^|]*) \| (.*) \|$", table, re.MULTILINE)
    found: dict[str, list[str]] = {}
    for rules, functions in rows:
        for rule in rules.split(", "):
            found[rule] = re.findall(r"`(\w+(?:\.\w+)+)`", functions)
    return found


def classes() -> dict[str, list[type]]:
    """Return the test classes of each rule."""
    found: dict[str, list[type]] = {}
    for module in pkgutil.walk_packages(conformance.__path__, "conformance."):
        if not module.name.rpartition(".")[2].startswith("test_"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and value.__name__.startswith("Test"):
                for rule in rule_of_class(value):
                    found.setdefault(rule, []).append(value)
    return found


def test_every_rule_has_a_class_whose_docstring_is_it() -> None:
    """Page, list of rules and classes are the same; each class has a test."""
    rules, found = rules_on_the_page(), classes()
    assert set(rules) == set(ALL_RULES) == set(found)
    for rule, text in rules.items():
        assert len(found[rule]) == 1, f"{rule}: expected one class, got {found[rule]}"
        told = (found[rule][0].__doc__ or "").partition("\n")[2]
        assert " ".join(told.split()) == text, f"{rule}: the docstring of its class is not the rule on the page"
        assert any(name.startswith("test_") for name in vars(found[rule][0]))


def test_every_rule_has_a_function() -> None:
    """The page names functions of the reference for each rule, and they are there."""
    found = functions_on_the_page()
    named = {rule for rule in ALL_RULES if not STATED_FOR_ENGINES.fullmatch(rule)}
    assert named <= set(found)
    for rule in named:
        assert found[rule], f"{rule}: no function on the page"
        for name in found[rule]:
            module, *parts = name.split(".")
            value: object = importlib.import_module(f"reference.{module}")
            for part in parts:
                value = getattr(value, part)
