"""The demo's models: a prompt is parsed by the demo's grammar, and a planner places its objects."""

import json

from mulo_sd.engines.bundle import Bundle, BundleError
from mulo_sd.engines.bundle.contract import GRAMMAR_FILE
from mulo_sd.engines.condition import Condition
from mulo_sd.engines.conditions.front_end import Described
from mulo_sd.engines.prompts import Plan, make_plan, null_prefix, parse, prefix_from_plan
from mulo_sd.engines.prompts.plan import check_plan
from mulo_sd.engines.prompts.prefix import grammar_description


class DemoFrontEnd:
    """Makes conditions from prompts of the demo's grammar, which a bundle records."""

    example_prompts: tuple[str, ...] = (
        "a red circle left of a blue square",
        "two green stars",
        "a pink diamond above a yellow circle",
    )

    def __init__(self, bundle: Bundle) -> None:
        """Check that the bundle's grammar is this version's.

        Raises:
            BundleError: it is another one.
        """
        entry = bundle.manifest.prompt_grammar
        grammar = bundle.path / (entry.path if entry else GRAMMAR_FILE)
        try:
            is_known = json.loads(grammar.read_text(encoding="utf-8")) == grammar_description()
        except (OSError, ValueError, RecursionError):
            is_known = False
        if not is_known:
            raise BundleError(f"{grammar}: expected this version's prompt grammar, got another; {bundle.rebuild()}")

    def check(self, prompt: str) -> None:
        """Check that a prompt can be parsed."""
        parse(prompt)

    def describe(self, prompt: str, seed: int, plan: Plan | None) -> Described:
        """Parse a prompt; plan its objects where no plan is given."""
        parsed = parse(prompt)
        plan = make_plan(parsed, seed) if plan is None else plan
        check_plan(plan, parsed)
        return Described(Condition(prefix_from_plan(parsed, plan), null_prefix()), plan)
