"""Prompts of the demo: its grammar and its planner."""

import json

from mulo_sd.engines.bundle import Bundle, BundleError
from mulo_sd.engines.bundle.contract import GRAMMAR_FILE
from mulo_sd.engines.condition import Condition
from mulo_sd.engines.conditions.front_end import Described
from mulo_sd.engines.prompts import Plan, make_plan, null_prefix, parse, prefix_from_plan
from mulo_sd.engines.prompts.plan import check_plan
from mulo_sd.engines.prompts.prefix import grammar_description


class DemoFrontEnd:
    """The demo's grammar, which a bundle records."""

    def __init__(self, bundle: Bundle) -> None:
        """Hold the bundle's grammar against this version's.

        Raises:
            BundleError: it is another.
        """
        entry = bundle.manifest.prompt_grammar
        grammar = bundle.path / (entry.path if entry else GRAMMAR_FILE)
        try:
            known = json.loads(grammar.read_text(encoding="utf-8")) == grammar_description()
        except (OSError, ValueError, RecursionError):
            known = False
        if not known:
            raise BundleError(f"{grammar}: the bundle's prompt grammar is not this version's; {bundle.rebuild()}")

    def check(self, prompt: str) -> None:
        """Parse a prompt."""
        parse(prompt)

    def describe(self, prompt: str, seed: int, plan: Plan | None) -> Described:
        """Parse a prompt; plan its objects where no plan is given."""
        parsed = parse(prompt)
        chosen = make_plan(parsed, seed) if plan is None else plan
        check_plan(chosen, parsed)
        return Described(Condition(prefix_from_plan(parsed, chosen), null_prefix()), chosen)
