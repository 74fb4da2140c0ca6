"""One name for three things: a rule of docs/semantics.md, a class whose docstring it is, and its functions."""

import importlib
import importlib.util
import pkgutil
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from mulo_sd import conformance
from mulo_sd.conformance.rules_of_tests import ALL_RULES, TITLES, rule_of_class

PAGE = Path(__file__).resolve().parents[3] / "docs" / "semantics.md"
pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the page of rules lies in the repository, not in a package")
STATED_FOR_ENGINES = re.compile(r"CONF-\d")


class Rule(NamedTuple):
    """A rule on the page."""

    title: str
    text: str  # every run of white space is one space


def rules_on_the_page() -> dict[str, Rule]:
    """Return the rules: headings such as "### LOCAL-1 Local expansion", and the first paragraph under each."""
    page = PAGE.read_text(encoding="utf-8")
    sections = re.findall(r"^### ([A-Z]+(?:-\w+)+|PREFILL) (.+)\n\n((?:.+\n)+)", page, re.MULTILINE)
    rules = {name: Rule(title, " ".join(text.split())) for name, title, text in sections}
    assert len(rules) == len(sections), "a rule stands on the page twice"
    return rules


def functions_on_the_page() -> dict[str, list[str]]:
    """Return the functions of the reference that the page names for each rule."""
    table = PAGE.read_text(encoding="utf-8").partition("## Where each rule lives")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([A-Z][^|]*) \| (.*) \|$", table, re.MULTILINE)
    return {
        rule: re.findall(r"`(\w+(?:\.\w+)+)`", functions) for rules, functions in rows for rule in rules.split(", ")
    }


def classes() -> dict[str, list[type]]:
    """Return the test classes of each rule."""
    rule_to_classes: dict[str, list[type]] = {}
    for module in pkgutil.walk_packages(conformance.__path__, "mulo_sd.conformance."):
        if not module.name.rpartition(".")[2].startswith("test_"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and value.__name__.startswith("Test"):
                for rule in rule_of_class(value):
                    rule_to_classes.setdefault(rule, []).append(value)
    return rule_to_classes


def test_every_rule_has_a_class_whose_docstring_is_it() -> None:
    """Page, list of rules and classes are the same; each class has a test."""
    rules, classes_of_rules = rules_on_the_page(), classes()
    assert {name: rule.title for name, rule in rules.items()} == TITLES
    assert set(rules) == set(classes_of_rules)
    for name, rule in rules.items():
        assert len(classes_of_rules[name]) == 1, f"{name}: expected one class, got {classes_of_rules[name]}"
        [rule_class] = classes_of_rules[name]
        heading, _, text = (rule_class.__doc__ or "").partition("\n")
        assert heading == f"{name} {rule.title}.", f"{name}: the first line of its class is not the heading on the page"
        assert " ".join(text.split()) == rule.text, f"{name}: the docstring of its class is not the rule on the page"
        assert any(attribute.startswith("test_") for attribute in vars(rule_class))


def test_every_rule_has_a_function() -> None:
    """The page names functions of the reference for each rule, and they are there."""
    functions = functions_on_the_page()
    named = {rule for rule in ALL_RULES if not STATED_FOR_ENGINES.fullmatch(rule)}
    assert named <= set(functions)
    for rule in named:
        assert functions[rule], f"{rule}: no function on the page"
        for name in functions[rule]:
            module, *parts = f"mulo_sd.reference.{name}".split(".")
            value: object = importlib.import_module(module)
            for part in parts:
                module = f"{module}.{part}"
                # A module of a package comes before what the package has under the same name.
                value = importlib.import_module(module) if is_module(module) else getattr(value, part)


def is_module(name: str) -> bool:
    """Return whether there is a module of a name."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of what is no package
        return False
