"""The speculative loop over exported engines, to embed in a service. Imports neither torch nor `reference`."""

import mulo_sd  # noqa: F401  (Ctrl-C during the imports of a command)
from mulo_sd.engines.backends import BACKENDS, Backend, BackendError
from mulo_sd.engines.bundle import BundleError
from mulo_sd.engines.condition import Condition, ConditionError
from mulo_sd.engines.prompts import Plan, PlanError, PromptError, load_plan, save_plan
from mulo_sd.engines.service.load import load
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.service.request import DeadlineError, Request
from mulo_sd.engines.service.result import Result, Stats
from mulo_sd.engines.service.session import QueueFullError, Session
from mulo_sd.engines.settings import Mode, Settings, SettingsError

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
