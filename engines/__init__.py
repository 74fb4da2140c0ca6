"""The speculative loop over exported engines, to embed in a service. Imports neither torch nor `reference`."""

import mulo_sd  # noqa: F401  (a command finds these packages beside it, whatever its folder holds)
from engines.backends import BACKENDS, Backend, BackendError
from engines.bundle import BundleError
from engines.condition import Condition, ConditionError
from engines.pipeline import Pipeline, load
from engines.prompts import Plan, PlanError, PromptError, load_plan, save_plan
from engines.request import DeadlineError, Request
from engines.result import Result, Stats
from engines.session import QueueFullError, Session
from engines.settings import Mode, Settings, SettingsError

__all__ = [
    "BACKENDS",
    "Backend",
    "BackendError",
    "BundleError",
    "Condition",
    "ConditionError",
    "DeadlineError",
    "Mode",
    "Pipeline",
    "Plan",
    "PlanError",
    "PromptError",
    "QueueFullError",
    "Request",
    "Result",
    "Session",
    "Settings",
    "SettingsError",
    "Stats",
    "load",
    "load_plan",
    "save_plan",
]
