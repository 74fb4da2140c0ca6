"""An engine's own decodes obey the rules, in any mix of settings: the same laws that the reference is held to."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mulo_sd.conformance import report
from mulo_sd.conformance.engines.cases import JUDGED_SETTINGS, PROMPTS, SEED
from mulo_sd.conformance.engines.engine_case import EngineCase, capabilities_for
from mulo_sd.conformance.engines.laws import LAWS, EngineLaw, judge
from mulo_sd.conformance.engines.strategies import engine_cases
from mulo_sd.conformance.rules.branches import must_reach, share_of_examples
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.backends.base import CAPABILITIES


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.law.__name__)
def test_law(law: EngineLaw, small_subject: Subject, request: pytest.FixtureRequest) -> None:
    """Every decode of the engine obeys the law; the examples together meet what the law is about."""
    modes = tuple(mode for mode in law.modes if mode in small_subject.capabilities)
    if not modes:
        pytest.skip(f"not applicable: the backend has none of the modes {', '.join(law.modes)}")
    chosen = [
        item for item in JUDGED_SETTINGS if item.mode in modes and capabilities_for(item) <= small_subject.capabilities
    ]
    met: set[str] = set()

    def judged(case: EngineCase) -> None:
        judge(law, case)
        met.update(capabilities_for(case.settings))

    @settings(parent=share_of_examples(law.share), suppress_health_check=[HealthCheck.too_slow])
    @given(st.data())
    def any_decode_obeys(data: st.DataObject) -> None:
        judged(data.draw(engine_cases(small_subject, modes)))

    # What a law is about can only be asked for where everything can be decoded.
    @must_reach(*(law.branches if small_subject.capabilities == set(CAPABILITIES) else ()))
    def every_decode_obeys() -> None:
        any_decode_obeys()  # first: what it finds it makes small
        for index, item in enumerate(chosen):
            judged(EngineCase(small_subject, PROMPTS[index % len(PROMPTS)], item, SEED))

    try:
        every_decode_obeys()
    finally:
        request.node.user_properties.append((report.EXERCISED, sorted(met)))
