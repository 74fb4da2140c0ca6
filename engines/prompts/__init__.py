"""The demo's prompts: grammar, scene plans, planner and prefix. Needs numpy and pydantic, no torch."""

from mulo_sd.engines.prompts.grammar import Prompt, parse
from mulo_sd.engines.prompts.plan import Plan, PlanError, PlannedObject, load_plan, save_plan
from mulo_sd.engines.prompts.planner import make_plan
from mulo_sd.engines.prompts.prefix import null_prefix, prefix_from_plan
from mulo_sd.engines.text import PromptError

__all__ = [
    "Plan",
    "PlanError",
    "PlannedObject",
    "Prompt",
    "PromptError",
    "load_plan",
    "make_plan",
    "null_prefix",
    "parse",
    "prefix_from_plan",
    "save_plan",
]
