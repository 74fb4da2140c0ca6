"""What a mutant is, how it comes about, and which laws kill it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from mulo_sd import engines
from mulo_sd.conformance.engines.cases import JUDGED_SETTINGS, PROMPTS, SEED, SWEPT_SETTINGS
from mulo_sd.conformance.engines.engine_case import EngineCase, capabilities_for, run
from mulo_sd.conformance.engines.laws import LAWS, EngineLaw
from mulo_sd.conformance.engines.probes.catalogue import PROBES
from mulo_sd.conformance.engines.probes.probe import Probe
from mulo_sd.conformance.engines.shape_laws import ShapeLaw
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.backends.base import Backend
from mulo_sd.reference.settings import Settings

# Enters a world in which the engine is wrong, and gives the subject in it.
Make = Callable[[Subject], AbstractContextManager[Subject]]


@dataclass(frozen=True)
class Mutant:
    """An engine with one defect.

    Attributes:
        name: The defect, in words.
        rule: That which it breaks, and by which it must be found.
        make: Plants it.
        settings: Of the decodes in which it is looked for.
    """

    name: str
    rule: str
    make: Make
    settings: tuple[Settings, ...] = JUDGED_SETTINGS


def swept(*mutants: Mutant) -> tuple[Mutant, ...]:
    """Return mutants that are looked for in decodes by sweeps."""
    return tuple(replace(mutant, settings=SWEPT_SETTINGS) for mutant in mutants)


def patched(owner: object, name: str, wrong: Callable[..., Any]) -> Make:
    """Replace a function of the engines by wrong(the right one, its arguments...)."""
    right = getattr(owner, name)

    def replacement(*args: Any, **kwargs: Any) -> Any:
        return wrong(right, *args, **kwargs)

    @contextmanager
    def make(subject: Subject) -> Iterator[Subject]:
        with patch.object(owner, name, replacement):
            yield replace(subject)  # another object: nothing that the right engine drew is taken for its

    return make


def on_backend(wrap: Callable[[Backend], Backend]) -> Make:
    """Put a wrong backend around the right one."""

    @contextmanager
    def make(subject: Subject) -> Iterator[Subject]:
        pipeline = subject.pipeline
        yield replace(
            subject,
            pipeline=engines.Pipeline(pipeline.bundle, wrap(pipeline.backend)),
            make=lambda bundle: wrap(subject.make(bundle)),
        )

    return make


def on_bundle(change: Callable[[Subject], dict[str, Any]]) -> Make:
    """Change what the engine reads from its bundle."""

    @contextmanager
    def make(subject: Subject) -> Iterator[Subject]:
        pipeline = subject.pipeline
        bundle = replace(pipeline.bundle, **change(subject))
        yield replace(subject, pipeline=engines.Pipeline(bundle, pipeline.backend))

    return make


@dataclass(frozen=True)
class Kill:
    """Where a mutant was found.

    Attributes:
        law: Which law found it.
        case: In which decode; None where the law is a probe, or looks at single graphs.
        message: What the law said.
    """

    law: EngineLaw | ShapeLaw | Probe
    case: EngineCase | None
    message: str


def cases_of(subject: Subject, law: EngineLaw, settings: Sequence[Settings] = JUDGED_SETTINGS) -> list[EngineCase]:
    """Return the decodes in which mutants are looked for; their seeds have bits in both halves."""
    return [
        EngineCase(subject, PROMPTS[index % len(PROMPTS)], item, SEED + (index << 32))
        for index, item in enumerate(settings)
        if item.mode in law.modes and capabilities_for(item) <= subject.capabilities
    ]


def find(subject: Subject, law: EngineLaw | Probe, settings: Sequence[Settings] = JUDGED_SETTINGS) -> Kill | None:
    """Return the first decode in which a law is broken, or that a probe is; None where it holds in all."""
    if isinstance(law, Probe):
        try:
            law.law(subject)
        except AssertionError as error:
            return Kill(law, None, str(error))
        return None
    for case in cases_of(subject, law, settings):
        try:
            law.law(case, run(case))
        except AssertionError as error:
            return Kill(law, case, str(error))
    return None


def kills(mutant: Mutant, subject: Subject, laws: Sequence[EngineLaw | Probe] = LAWS) -> list[Kill]:
    """Return where some laws find a mutant, one place a law."""
    with mutant.make(subject) as wrong:
        attempts = [find(wrong, law, mutant.settings) for law in laws]
    return [kill for kill in attempts if kill is not None]


def is_killed(mutant: Mutant, subject: Subject) -> bool:
    """Return whether a law that speaks for the mutant's rule finds it; the first that does ends the search."""
    with mutant.make(subject) as wrong:
        # Probes first: most of them take less than a decode.
        ordered = sorted(laws_of(mutant.rule), key=lambda law: not isinstance(law, Probe))
        return any(find(wrong, law, mutant.settings) for law in ordered)


def laws_of(rule: str) -> list[EngineLaw | Probe]:
    """Return the laws that speak for a rule; probes last."""
    laws: list[EngineLaw | Probe] = [*LAWS, *PROBES]
    return [law for law in laws if rule in law.rules]
