"""The demo's prompt front-end: grammar, planner and prefix. Needs numpy and pydantic, no torch."""

from engines.prompts.grammar import Prompt, parse
from engines.prompts.plan import Plan, PlanError, PlannedObject, load_plan, save_plan
from engines.prompts.planner import make_plan
from engines.prompts.prefix import null_prefix, prefix_from_plan
from engines.text import PromptError

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
