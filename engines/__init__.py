"""The speculative loop over exported engines, to embed in a service. Imports neither torch nor `reference`."""

import mulo_sd  # noqa: F401  (Ctrl-C during the imports of a command)
from mulo_sd.engines.backends import (
    BACKENDS,
    Backend,
    BackendError,
    CachePool,
    Draw,
    Fed,
    Judgement,
    KVCache,
    PartedScores,
    Scores,
    Traits,
    WrappedBackend,
)
from mulo_sd.engines.bundle import BundleError
from mulo_sd.engines.condition import Condition, ConditionError
from mulo_sd.engines.distribution import Distribution
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
    "CachePool",
    "Condition",
    "ConditionError",
    "DeadlineError",
    "Distribution",
    "Draw",
    "Fed",
    "Judgement",
    "KVCache",
    "Mode",
    "PartedScores",
    "Pipeline",
    "Plan",
    "PlanError",
    "PromptError",
    "QueueFullError",
    "Request",
    "Result",
    "Scores",
    "Session",
    "Settings",
    "SettingsError",
    "Stats",
    "Traits",
    "WrappedBackend",
    "load",
    "load_plan",
    "save_plan",
]
