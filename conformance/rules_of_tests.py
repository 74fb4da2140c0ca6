"""Which rules there are, what they are called, and which of them a test speaks for."""

import re

import pytest

# Each rule's title on docs/semantics.md, in the order of reports.
TITLES = {
    "GRID-1": "Raster positions and scale ratios",
    "GRID-2": "Prefix and queries",
    "DIST-1": "Distribution of a cell",
    "DIST-2": "Processed and raw probabilities",
    "RNG-1": "Gumbel-max and its noise",
    "RNG-2": "Streams of noise",
    "KV-1": "What a pass reads and writes",
    "KV-2": "Keys and values may be stale",
    "KV-3": "Every decided token is fed",
    "KV-4": "Refreshing the previous window",
    "PREFILL": "The pass of the condition",
    "DRAFT-1": "Rows that are drafted",
    "CASCADE-1": "Cascade of drafters",
    "SCALE-1": "Up-sampling",
    "SCALE-2": "Down-sampling",
    "VERIFY-1": "Verification in one pass",
    "POOL-1": "Pooled probability",
    "ACCEPT-1": "Acceptance threshold",
    "LOCAL-1": "Local expansion",
    "LOCAL-2": "Islands",
    "LOCAL-3": "Adaptive radius",
    "ANCHOR-1": "Anchored resampling",
    "SCHED-1": "Waits and windows",
    "SCHED-2": "Islands side by side",
    "SCHED-3": "Queries and stand-ins",
    "SCHED-4": "The first step of resampling",
    "SCHED-5": "Adaptive window",
    "SWEEP-1": "Sweeps",
    "SWEEP-2": "What a sweep decides",
    "SWEEP-3": "What a sweep feeds",
    "SWEEP-4": "Limit of sweeps",
    "SWEEP-5": "First guesses",
    "SWEEP-6": "Automatic width",
    "METHOD-1": "Three parts",
    "METHOD-2": "Drafts that are judged pass by pass",
    "METHOD-3": "Next guesses",
    "METHOD-4": "Rounds",
    "METHOD-5": "Rows",
    "METHOD-6": "Heads and trees",
    "ACCEPT-2": "Lossless acceptance",
    "ACCEPT-3": "Grouped acceptance",
    "ACCEPT-4": "Annealed acceptance",
    "ACCEPT-5": "LANTERN",
    "ACCEPT-6": "LANTERN plus",
    "ACCEPT-7": "Among the best",
    "ACCEPT-8": "Typical acceptance",
    "MODE-AR": "Autoregressive decoding",
    "MODE-ZIPAR": "ZipAR",
    "MODE-SERIAL": "Serial resampling",
    "MODE-PARALLEL": "Parallel resampling",
    "MODE-EXACT": "Lossless decoding",
    "MODE-UNMASKED": "ZipAR as published",
    "MODE-SJD": "Speculative Jacobi decoding",
    "MODE-GSD": "Grouped speculative decoding",
    "MODE-COOLSD": "Annealed speculative decoding",
    "MODE-SPECDEC": "Speculative decoding by blocks",
    "MODE-PJD": "Parallel Jacobi decoding",
    "MODE-EAGLE": "Heads on hidden states",
    "MODE-LANTERN": "Relaxed trees",
    "MODE-SSD": "Rounds over a draft",
    "CONF-1": "Logits within tolerance",
    "CONF-2": "Decisions under teacher forcing",
    "CONF-3": "Free-running grids",
    "CONF-4": "Passes and events",
    "CONF-5": "Repeatable images",
    "CONF-6": "The same tokens by sweeps",
}
ALL_RULES = tuple(TITLES)
_RULE = r"(?:[A-Z]+-\d|MODE-[A-Z]+|PREFILL)"
_HEAD = re.compile(rf"({_RULE}(?: to {_RULE})?(?:, {_RULE}(?: to {_RULE})?)*):")


def named_rules(docstring: str | None) -> tuple[str, ...]:
    """Return the rules that a docstring names before its colons, at its start and at the start of later sentences."""
    heads = _HEAD.findall(docstring or "")
    return tuple(dict.fromkeys(rule for head in heads for rule in re.findall(_RULE, head)))


def rule_of_class(test_class: type | None) -> tuple[str, ...]:
    """Return the rule whose text is a test class's docstring: its first line is the rule's name and title."""
    first_line = (test_class.__doc__ or "").partition("\n")[0] if test_class is not None else ""
    heading = re.fullmatch(rf"({_RULE}) [^:]+\.", first_line)
    return (heading[1],) if heading else ()


def rules_of_test(item: pytest.Item) -> tuple[str, ...]:
    """Return the rules that a test speaks for: its law's, else that of its class and those that its docstring names."""
    parameters = getattr(item, "callspec", None)
    law = parameters.params.get("law") if parameters is not None else None
    rules: tuple[str, ...] | None = getattr(law, "rules", None)
    if rules is not None:
        return rules
    named = named_rules(getattr(getattr(item, "function", None), "__doc__", None))
    return tuple(dict.fromkeys((*rule_of_class(getattr(item, "cls", None)), *named)))
