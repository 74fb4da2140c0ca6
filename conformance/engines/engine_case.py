"""A decode of an engine in the form of the reference's own, so that the same laws judge both."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd.conformance.engines.conditions import condition_of, engine_condition
from mulo_sd.conformance.rules.decode_case import Rounding
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.rules import trace as engine_trace
from mulo_sd.engines.service.hooks import Hooks
from mulo_sd.reference.decode import Decoded
from mulo_sd.reference.models import Condition, Models
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.trace import Cycle, Pass, Reprediction, Speculation, Sweep, Trace, TreeSpeculation

# What float32 makes of the sampler's and the acceptance's arithmetic; both are float32 in every bundle.
PROBS, NATS = 1e-5, 1e-5
CODES = {"fp32": 1e-4, "fp16": 2e-2, "bf16": 1e-1}


def tensor(value: NDArray[Any]) -> Tensor:
    """Return an array of an engine's trace as the reference has it; floats in float64."""
    array = torch.from_numpy(np.ascontiguousarray(value))
    return array.double() if array.is_floating_point() else array


def reference_trace(trace: engine_trace.Trace) -> Trace:
    """Return an engine's trace as the reference's class."""
    passes = [
        Pass(
            model=item.model,
            positions=tensor(item.positions),
            tokens=tensor(item.tokens),
            logits=None if item.logits is None else tensor(item.logits),
            sampled=list(item.sampled),
            repredicted=[Reprediction(**vars(entry)) for entry in item.repredicted],
            sweeps=[Sweep(**_tensors(entry)) for entry in item.sweeps],
            speculated=[Speculation(**_tensors(entry)) for entry in item.speculated],
            trees=[TreeSpeculation(**_tensors(entry)) for entry in item.trees],
        )
        for item in trace.passes
    ]
    return Trace(passes, [Cycle(**_tensors(item)) for item in trace.cycles])


def _tensors(item: Any) -> dict[str, Any]:
    """Return the fields of a record of an engine's trace, arrays as tensors."""
    return {name: tensor(value) if isinstance(value, np.ndarray) else value for name, value in vars(item).items()}


def capabilities_for(item: Settings) -> set[str]:
    """Return the capabilities that a decode with some settings takes (engines.backends.base.CAPABILITIES)."""
    capabilities: set[str] = {item.mode}
    capabilities |= {"guidance"} if item.guidance_scale != 1 else set()
    # What a mode needs whose parts the settings have put in place of their own's.
    capabilities |= {"eagle"} if item.decoding.has_head else set()
    capabilities |= {"specdec"} if item.decoding.draft == "block" else set()
    capabilities |= {"pjd"} if item.decoding.correction == "rows" else set()
    if item.decoding.drafts:
        capabilities |= {"cascade"} if item.drafters != (1,) else set()
        capabilities |= {"latent"} if "latent" in (item.up_sampler, item.down_sampler) else set()
    return capabilities


@dataclass(frozen=True)
class EngineCase:
    """Everything that an engine's decode depends on; a `conformance.rules.decode_case.DecodeCase`.

    Attributes:
        subject: The engine.
        prompt: Plain English.
        settings: The reference's class.
        seed: Of the plan and of every sample.
        draft: Tokens to take instead of the coarsest drafter's.
    """

    subject: Subject
    prompt: str
    settings: Settings
    seed: int
    draft: tuple[int, ...] | None = None

    def __repr__(self) -> str:
        """Show what a person needs to run it again."""
        changed = {
            name: value for name, value in vars(self.settings).items() if value != getattr(Settings(), name, value)
        }
        draft = "" if self.draft is None else f", draft={self.draft}"
        return f"EngineCase({self.subject.name}, {self.prompt!r}, seed={self.seed}, Settings({changed}){draft})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Let Hypothesis show a failing case in one line, and not with the weights of its models."""
        printer.text(repr(self))

    @property
    def models(self) -> Models:
        return self.subject.models

    @property
    def condition(self) -> Condition:
        return condition_of(self.models, self.prompt, self.seed)

    @property
    def rounding(self) -> Rounding:
        graphs, models = self.subject.pipeline.bundle.manifest.graphs, self.subject.pipeline.bundle.manifest.models
        logits = max(graphs[entry.graph].tolerance for entry in models)
        return Rounding(logits, PROBS, NATS, CODES[self.subject.precision])

    @property
    def prefix_length(self) -> int:
        return self.models.target.config.prefix_length

    @property
    def codes(self) -> int:
        return self.models.target.config.vocabulary

    def grid(self, model: int) -> tuple[int, int]:
        """Return a model's rows and columns."""
        config = self.models.transformer(model).config
        return config.grid_height, config.grid_width

    def run(self) -> Decoded:
        """Decode with the engine."""
        pipeline = self.subject.pipeline
        settings = pipeline.settings(**vars(self.settings))
        draft = None
        if self.draft is not None:
            draft = np.array(self.draft).reshape(self.grid(self.settings.model_numbers[-1]))
        hooks = Hooks(record_logits=True)
        decoded = pipeline.decode(engine_condition(self.condition), settings, self.seed, draft, hooks=hooks)
        return Decoded(torch.from_numpy(decoded.tokens), reference_trace(decoded.trace))


@lru_cache(maxsize=256)
def run(case: EngineCase) -> Decoded:
    """Decode a case, once for all laws."""
    return case.run()
