"""The report of a conformance run: verdicts by rule and subject, and exit statuses of its own."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mulo_sd.conformance.options import NOTHING_EXECUTED, REQUIREMENT_MISSING, Options
from mulo_sd.conformance.report import Report, write_report
from mulo_sd.conformance.rules_of_tests import ALL_RULES, TITLES, named_rules
from mulo_sd.conformance.targets import Target

SUBJECT = "minimal-fp32"


def a_report(*required: str, path: Path | None = None) -> Report:
    target = Target(SUBJECT, Path("nowhere"), "minimal", "fp32", "ort", None)
    return Report(Options((), "ort", None, required, None, path, None), {SUBJECT: target})


def outcome(rules: list[str], result: str = "passed", subject: str = SUBJECT, when: str = "call", **extra: Any) -> Any:
    properties = [("rules", rules), ("subject", subject), ("examples", 7), ("exercised", ["ar"])]
    properties.append(("branches", {"a near-tie": 2, "a branch": 3}))
    told = {"when": when, "outcome": result, "user_properties": properties, "nodeid": "test_it", "longrepr": ""}
    return SimpleNamespace(**(told | {"longreprtext": "E   it is wrong\n"} | extra))


def finish(report: Report, status: int = 0) -> int:
    session = SimpleNamespace(exitstatus=status, config=SimpleNamespace(option=SimpleNamespace(collectonly=False)))
    report.pytest_sessionfinish(session)  # type: ignore[arg-type]  # what it reads of a session
    return int(session.exitstatus)


def test_verdicts() -> None:
    report = a_report()
    for item in (
        outcome(["KV-1", "KV-3"]),
        outcome(["KV-3"], "failed"),
        outcome(["KV-4"], "skipped", longrepr=("file", 1, "Skipped: not applicable: no refresh")),
        outcome(["SCHED-5"], "skipped", wasxfail="ours"),
        outcome(["KV-2"], "failed", when="setup"),
        outcome(["KV-1"], subject="reference"),
        outcome([], "failed"),
        outcome(["KV-1"], when="teardown"),
    ):
        report.pytest_runtest_logreport(item)
    told = report.to_json(1)["rules"]
    assert set(told) == set(ALL_RULES)
    verdicts = {rule: by_name[SUBJECT]["verdict"] for rule, by_name in told.items() if SUBJECT in by_name}
    assert verdicts == {
        "KV-1": "passed",
        "KV-2": "failed",
        "KV-3": "failed",
        "KV-4": "not applicable",
        "SCHED-5": "known failure",
    }
    assert told["KV-1"][SUBJECT]["examples"] == 7
    assert told["KV-1"][SUBJECT]["near_ties"] == 2
    assert told["KV-1"][SUBJECT]["branches"] == {"a branch": 3}
    assert told["KV-3"][SUBJECT]["failures"] == ["test_it: it is wrong"]
    assert told["KV-4"][SUBJECT]["not_applicable"] == ["not applicable: no refresh"]
    assert told["GRID-1"] == {"title": TITLES["GRID-1"], "verdict": "not tested"}


@pytest.mark.parametrize(
    ("items", "required", "status", "expected"),
    [
        ([outcome(["KV-1"])], ("ar",), 0, 0),
        ([outcome(["KV-1"])], ("exact",), 0, REQUIREMENT_MISSING),
        ([outcome(["KV-1"], "skipped", longrepr=("", 1, "none"))], (), 0, NOTHING_EXECUTED),
        ([outcome(["KV-1"], "failed")], ("exact",), 1, 1),
        ([outcome(["KV-1"], subject="reference")], (), 0, 0),  # nobody asked for an engine
        ([], (), 5, 5),
    ],
)
def test_exit_status(items: list[Any], required: tuple[str, ...], status: int, expected: int) -> None:
    report = a_report(*required)
    for item in items:
        report.pytest_runtest_logreport(item)
    assert finish(report, status) == expected


def test_report_is_written_as_json_or_markdown(tmp_path: Path) -> None:
    report = a_report(path=tmp_path / "report.json")
    report.pytest_runtest_logreport(outcome(["KV-1"]))
    report.pytest_runtest_logreport(outcome(["KV-3"], "failed"))
    assert finish(report, 1) == 1
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["exit_status"] == 1
    assert content["subjects"] == {SUBJECT: {"path": "nowhere", "state": "not there"}}
    write_report(content, tmp_path / "report.md")
    page = (tmp_path / "report.md").read_text()
    assert f"| KV-1 {TITLES['KV-1']} | passed, 7, 2 near-ties | - |" in page
    assert "- test_it: it is wrong" in page
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "report.md"]


def test_rules_that_a_docstring_names() -> None:
    assert named_rules("KV-1, KV-3: it holds. SCHED-2: so does this; CONF-5 is not named") == (
        "KV-1",
        "KV-3",
        "SCHED-2",
    )
    assert named_rules("MODE-AR: yes") == ("MODE-AR",)
    assert named_rules(None) == named_rules("A decode. Nothing") == ()
