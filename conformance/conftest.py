"""The suite's command line, its Hypothesis profiles, and what it tests."""

import os
from collections.abc import Generator
from typing import Any

# Read by numpy's OpenBLAS when it is loaded. Idle threads spin: where several test processes share the cores, each
# takes ten times as long.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest
import torch
from hypothesis import Phase, settings

from mulo_sd.conformance import report
from mulo_sd.conformance.engines.cases import Case
from mulo_sd.conformance.known_failures import KnownFailuresError, read_known_failures
from mulo_sd.conformance.options import Options, add_options, read_options
from mulo_sd.conformance.rules import branches
from mulo_sd.conformance.rules_of_tests import rules_of_test
from mulo_sd.conformance.subject import Subject
from mulo_sd.conformance.targets import (
    oblong_targets,
    open_target,
    preset_target,
    shaped_targets,
    small_targets,
    traced_targets,
)

LAWS = ("cycle_laws", "decode_laws", "function_laws", "replay", "resampling_laws", "sweep_laws", "sweeping")
pytest.register_assert_rewrite(
    *(f"mulo_sd.conformance.rules.{name}" for name in LAWS),
    "mulo_sd.conformance.engines.engine_laws",
    "mulo_sd.conformance.engines.probes",
)

# dev by default, ci where CI is set, nightly on request (--hypothesis-profile=nightly). What is marked thorough
# (decodes of every case, what checks the suite itself by starting it) is left out by dev alone.
# No deadline anywhere: the first case of a run pays for imports.
# As many as show that something runs: for tests of the suite itself.
settings.register_profile("few", max_examples=4, deadline=None, derandomize=True, phases=[Phase.generate])
settings.register_profile("dev", max_examples=20, deadline=None)
settings.register_profile("ci", max_examples=80, deadline=None, derandomize=True)
settings.register_profile("nightly", max_examples=2000, deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# As in the reference (SWEEP-6): passes do not depend on what a busy machine measures.
os.environ["MULO_SD_SWEEP_WIDTH"] = "1"
# One token a pass keeps one core busy; threads of several test processes would only wait for each other.
torch.set_num_threads(1)

# What a test may be given: one of the bundles under test.
TARGETS = {
    "small_target": small_targets,
    "shaped_target": shaped_targets,
    "oblong_target": oblong_targets,
    "traced_target": traced_targets,
}
THOROUGH = "thorough: left out by the profile dev"
OPTIONS = pytest.StashKey[Options]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare what can be tested."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Read the command line; in the main process, start the report."""
    config.addinivalue_line("markers", THOROUGH)
    if not __debug__:  # every law is an assertion: all would hold
        raise pytest.UsageError("expected Python without -O or PYTHONOPTIMIZE, which leave assertions out")
    options = read_options(config)
    config.stash[OPTIONS] = options
    if not hasattr(config, "workerinput"):  # not a process of pytest-xdist
        targets = {target.label: target for target in shaped_targets(options)}
        config.pluginmanager.register(report.Report(options, targets), "conformance-report")


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what is under test."""
    options = config.stash[OPTIONS]
    small, traced = small_targets(options), traced_targets(options)
    profile, left_out = settings.get_current_profile_name(), ""
    if profile == "dev":
        left_out = "; leaves out what is thorough (--hypothesis-profile=ci runs everything)"
    return [
        f"conformance: profile {profile}, {settings().max_examples} examples a law{left_out}",
        f"conformance: laws on {', '.join(target.label for target in small)}; "
        f"decodes of {', '.join(str(target.path) for target in traced)}; backend {options.backend}",
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give engine tests the bundles under test."""
    options = metafunc.config.stash[OPTIONS]
    for name, targets in ((name, of(options)) for name, of in TARGETS.items()):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, targets, ids=lambda target: target.label, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note which rules each test speaks for, and which are known to fail."""
    path = config.stash[OPTIONS].known_failures
    try:
        known = [] if path is None else read_known_failures(path)
    except KnownFailuresError as error:
        raise pytest.UsageError(str(error)) from None
    for item in items:
        if not item.nodeid.startswith("conformance/") and "conformance" not in item.path.parts:
            continue
        rules = rules_of_test(item)
        targets = getattr(item, "callspec", None)
        target = None
        if targets is not None:
            target = next((targets.params[name] for name in TARGETS if name in targets.params), None)
        item.user_properties += [(report.RULES, list(rules)), (report.SUBJECT, target.label if target else "reference")]
        if item.get_closest_marker("thorough") and settings.get_current_profile_name() == "dev":
            item.add_marker(pytest.mark.skip(reason="left out by the profile dev"))
        for failure in known:
            if target is not None and failure.covers(item.name, rules):
                item.add_marker(pytest.mark.xfail(reason=failure.reason, strict=True))


@pytest.fixture(scope="session")
def minimal_subject() -> Subject:
    """The minimal preset in float32 on ONNX Runtime, whatever is under test: for tests of the suite itself."""
    return open_target(preset_target("minimal", "fp32"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Count what a test meets, for the report."""
    branches.start_counting()
    try:
        yield
    finally:
        item.user_properties += [(report.BRANCHES, branches.counted()), (report.EXAMPLES, branches.examples())]
        fixtures: dict[str, Any] = getattr(item, "funcargs", {})
        if isinstance(fixtures.get("case"), Case):
            item.user_properties.append((report.EXERCISED, sorted(fixtures["case"].needs)))
        for name in ("small_subject", "shaped_subject", "oblong_subject", "subject"):
            if name in fixtures:
                item.user_properties.append((report.DEVICE, fixtures[name].device))
