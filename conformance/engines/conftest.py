"""The engines under test and what the reference decodes beside them."""

from collections.abc import Callable
from functools import cache

import pytest

from mulo_sd import engines
from mulo_sd.conformance.engines.cases import CASES, PROMPTS, SEED, Case
from mulo_sd.conformance.engines.conditions import condition_of, engine_condition
from mulo_sd.conformance.engines.parameters import marked
from mulo_sd.conformance.engines.reference_side import ReferenceSide
from mulo_sd.conformance.engines.replay import Replayed, replay
from mulo_sd.conformance.engines.shapes import FEW, level_of_profile
from mulo_sd.conformance.options import read_options
from mulo_sd.conformance.subject import Subject, SubjectError
from mulo_sd.conformance.targets import Target, open_target, preset_target

Drawn = Callable[[Case, str], engines.Result]


def _open(target: Target) -> Subject:
    try:
        return open_target(target)
    except SubjectError as error:
        pytest.fail(str(error), pytrace=False)


_references: dict[int, ReferenceSide] = {}  # by id of the models, which live as long as the process


@cache
def _draw(target: Target, case: Case, prompt: str) -> engines.Result:
    subject = _open(target)
    condition = engine_condition(condition_of(subject.models, prompt, SEED))
    return subject.pipeline.draw(condition, seed=SEED, **case.changes)


@pytest.fixture(scope="session")
def small_subject(small_target: Target) -> Subject:
    """The minimal preset, built if it is not there: random models on small grids, a decode in milliseconds."""
    return _open(small_target)


@pytest.fixture(scope="session")
def shaped_subject(shaped_target: Target) -> Subject:
    """A bundle whose graphs are held to the reference in every shape; in few shapes, the demo's need not be."""
    if level_of_profile() == FEW and shaped_target.preset == "demo":
        pytest.skip("left out by the profile dev: the demo's shapes")
    return _open(shaped_target)


@pytest.fixture(scope="session")
def oblong_subject(oblong_target: Target) -> Subject:
    """Random models on grids that are no squares."""
    return _open(oblong_target)


@pytest.fixture(scope="session")
def subject(traced_target: Target) -> Subject:
    """A bundle whose decodes are compared with the reference's."""
    return _open(traced_target)


@pytest.fixture(scope="session")
def fp32_subject(subject: Subject) -> Subject:
    """The same, where running free it must make the reference's grids."""
    if subject.precision != "fp32":
        pytest.skip("not applicable: in half precision a grid soon meets a near-tie, and CONF-2 is the test")
    return subject


@pytest.fixture(scope="session")
def reference_side(subject: Subject) -> ReferenceSide:
    """The reference with the same weights, and its decodes, each made once."""
    return _references.setdefault(id(subject.models), ReferenceSide(subject.models))


@pytest.fixture
def drawn(traced_target: Target) -> Drawn:
    """What the engine draws by itself for a case and a prompt, made once."""
    return lambda case, prompt: _draw(traced_target, case, prompt)


@pytest.fixture(scope="module", params=marked(CASES))
def case(request: pytest.FixtureRequest, subject: Subject) -> Case:
    """A mode with its models and settings."""
    decode_case: Case = request.param
    missing = sorted(decode_case.needs - subject.capabilities)
    if missing:
        pytest.skip(f"not applicable: the backend or the bundle has no {', '.join(missing)}")
    if subject.precision != "fp32" and not decode_case.in_half:
        pytest.skip(
            f"not applicable: {decode_case.name} is compared in fp32, and in half precision on the minimal preset"
        )
    return decode_case


@pytest.fixture(scope="module")
def replayed(subject: Subject, reference_side: ReferenceSide, case: Case, pytestconfig: pytest.Config) -> Replayed:
    """A decode of the reference and the engine's logits for its passes; each case has a prompt of its own."""
    settings = reference_side.settings(subject.pipeline, case)
    prompt = PROMPTS[CASES.index(case) % case.prompts]
    decoded = reference_side.decode(prompt, SEED, settings, record_logits=True)
    condition, max_near_ties = reference_side.condition(prompt, SEED), read_options(pytestconfig).near_ties
    return replay(case, subject.pipeline, settings, decoded, condition, max_near_ties)


@pytest.fixture(scope="session")
def demo_subject() -> Subject:
    """The demo in float32 on ONNX Runtime, whatever is under test: for tests of the suite itself."""
    return _open(preset_target("demo", "fp32"))
