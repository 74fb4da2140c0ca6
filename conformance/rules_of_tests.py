"""Which rules there are, and which of them a test speaks for."""

import re

import pytest

ALL_RULES = (
    *("GRID-1", "GRID-2", "DIST-1", "DIST-2", "RNG-1", "RNG-2", "KV-1", "KV-2", "KV-3", "KV-4", "PREFILL", "DRAFT-1"),
    *("CASCADE-1", "SCALE-1", "SCALE-2", "VERIFY-1", "POOL-1", "ACCEPT-1", "LOCAL-1", "LOCAL-2", "LOCAL-3", "ANCHOR-1"),
    *("SCHED-1", "SCHED-2", "SCHED-3", "SCHED-4", "SCHED-5"),
    *("MODE-AR", "MODE-ZIPAR", "MODE-SERIAL", "MODE-PARALLEL", "MODE-EXACT"),
    *("CONF-1", "CONF-2", "CONF-3", "CONF-4", "CONF-5"),
)
_RULE = r"(?:[A-Z]+-\d|MODE-[A-Z]+|PREFILL)"
_HEAD = re.compile(rf"({_RULE}(?: to {_RULE})?(?:, {_RULE}(?: to {_RULE})?)*):")


def named_rules(docstring: str | None) -> tuple[str, ...]:
    """Return the rules that a docstring names before its colons, at its start and at the start of later sentences."""
    found: dict[str, None] = {}
    for head in _HEAD.findall(docstring or ""):
        found.update(dict.fromkeys(re.findall(_RULE, head)))
    return tuple(found)


def rule_of_class(test_class: type | None) -> tuple[str, ...]:
    """Return the rule whose text is a test class's docstring: its first line is the rule's name."""
    first_line = (test_class.__doc__ or "").partition("\n")[0] if test_class is not None else ""
    return (first_line.rstrip("."),) if re.fullmatch(rf"{_RULE}\.", first_line) else ()


def rules_of_test(item: pytest.Item) -> tuple[str, ...]:
    """Return the rules that a test speaks for: its law's, else that of its class and those that its docstring names."""
    parameters = getattr(item, "callspec", None)
    law = parameters.params.get("law") if parameters is not None else None
    rules: tuple[str, ...] | None = getattr(law, "rules", None)
    if rules is not None:
        return rules
    named = named_rules(getattr(getattr(item, "function", None), "__doc__", None))
    return tuple(dict.fromkeys((*rule_of_class(getattr(item, "cls", None)), *named)))
