"""The report of a run: every rule with what was tried for it, what came of it, and on what."""

import importlib.metadata
import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mulo_sd.conformance.engines.report_of_shapes import ShapesMet, shapes_page, summaries
from mulo_sd.conformance.options import NOTHING_EXECUTED, REQUIREMENT_MISSING, Options
from mulo_sd.conformance.rules.branches import NEAR_TIE
from mulo_sd.conformance.rules_of_tests import TITLES
from mulo_sd.conformance.targets import Target, describe
from mulo_sd.engines.files.whole_files import write_bytes_whole

# pytest properties of a test, which also come back from other processes.
RULES, SUBJECT, DEVICE = "rules", "subject", "device"
EXAMPLES, BRANCHES, EXERCISED = "examples", "branches", "exercised"
# Shapes held against the reference, and the most tokens of a pass that requests share.
SHAPES, SHARING = "shapes", "sharing"
PACKAGES = ("mulo-sd", "numpy", "torch", "onnxruntime", "tensorrt-rtx", "tensorrt", "hypothesis", "pytest")


@dataclass
class RuleResult:
    """What became of one rule on one subject ("reference" is the specification itself)."""

    passed: int = 0
    failed: int = 0
    known_failures: int = 0
    not_applicable: list[str] = field(default_factory=list)
    examples: int = 0
    near_ties: int = 0
    branches: Counter[str] = field(default_factory=Counter)
    messages: list[str] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.failed:
            return "failed"
        if self.passed:
            return "passed"
        return "known failure" if self.known_failures else "not applicable"

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "verdict": self.verdict,
            "tests_passed": self.passed,
            "tests_failed": self.failed,
            "known_failures": self.known_failures,
            "not_applicable": sorted(set(self.not_applicable)),
            "examples": self.examples,
            "near_ties": self.near_ties,
            "branches": dict(sorted(self.branches.items())),
            "failures": self.messages,
        }


def versions() -> dict[str, str]:
    """Return the versions of what takes part."""
    name_to_version = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            name_to_version[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return name_to_version


class Report:
    """Collects what the tests of a run say; a pytest plugin of the main process."""

    def __init__(self, options: Options, targets: Mapping[str, Target]) -> None:
        """Start empty.

        Args:
            options: Of the run.
            targets: What is tested, by label.
        """
        self.options, self.targets = options, dict(targets)
        self.started = datetime.now(UTC)
        self.results: dict[tuple[str, str], RuleResult] = {}
        self.exercised: set[str] = set()
        self.devices: set[str] = set()
        self.shapes = ShapesMet()
        self.executed = self.engine_tests = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take one test's outcome; setup and teardown count where they fail."""
        if report.when != "call" and report.outcome == "passed":
            return
        properties: dict[str, Any] = dict(report.user_properties)
        rules, subject = properties.get(RULES), properties.get(SUBJECT)
        if not rules:
            return
        if report.outcome == "passed" and subject in self.targets:
            self.shapes.add(subject, properties.get(SHAPES, ()), properties.get(SHARING))
        known = hasattr(report, "wasxfail")
        self.engine_tests += subject in self.targets
        if subject in self.targets and report.when == "call" and (report.outcome != "skipped" or known):
            self.executed += 1
            self.exercised.update(properties.get(EXERCISED, ()))
            self.devices.update([properties[DEVICE]] if DEVICE in properties else [])
        for rule in rules:
            result = self.results.setdefault((rule, subject or "reference"), RuleResult())
            if known:
                result.known_failures += 1
            elif report.outcome == "passed":
                result.passed += 1
                branches = Counter(properties.get(BRANCHES, {}))
                result.examples += int(properties.get(EXAMPLES, 1))
                result.near_ties += branches.pop(NEAR_TIE, 0)
                result.branches += branches
            elif report.outcome == "skipped":
                result.not_applicable.append(_reason(report))
            else:
                result.failed += 1
                result.messages.append(f"{report.nodeid}: {_last_line(report)}")

    @property
    def missing(self) -> list[str]:
        """Required capabilities that no test exercised."""
        return [name for name in self.options.required if name not in self.exercised]

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail where nothing was tested, and write the report."""
        if session.config.option.collectonly or not self.engine_tests:
            return
        if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            if not self.executed:
                session.exitstatus = NOTHING_EXECUTED
            elif self.missing:
                session.exitstatus = REQUIREMENT_MISSING
        if self.options.report is not None:
            write_report(self.to_json(int(session.exitstatus)), self.options.report)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print what was tested."""
        if not self.engine_tests:
            return
        terminalreporter.section("conformance")
        for name in [*self.targets, "reference"]:
            verdicts = Counter(result.verdict for (_, subject), result in self.results.items() if subject == name)
            if verdicts:
                counts = ", ".join(f"{count} rules {verdict}" for verdict, count in sorted(verdicts.items()))
                ties = sum(result.near_ties for (_, subject), result in self.results.items() if subject == name)
                terminalreporter.line(f"{name}: {counts}; {ties} near-ties")
        for (rule, subject), result in sorted(self.results.items()):
            if result.failed:
                terminalreporter.line(f"  {rule} failed on {subject}")
        for line in summaries(self._shapes()):
            terminalreporter.line(line)
        terminalreporter.line(f"exercised: {', '.join(sorted(self.exercised)) or 'nothing'}")
        if not self.executed:
            terminalreporter.line("nothing was executed on an engine: that is a failure", red=True)
        for name in self.missing:
            terminalreporter.line(f"--require {name}: it was not tested: that is a failure", red=True)
        if self.options.report is not None:
            terminalreporter.line(f"report: {self.options.report}")

    def _shapes(self) -> dict[str, Any]:
        return {name: self.shapes.of(name, target.path) for name, target in self.targets.items()}

    def to_json(self, exit_status: int) -> dict[str, Any]:
        """Return the whole report; rules that no test speaks for included."""
        names = [*self.targets, "reference"]
        rules: dict[str, Any] = {}
        for rule, title in TITLES.items():
            by_name: dict[str, Any] = {
                name: self.results[rule, name].to_json() for name in names if (rule, name) in self.results
            }
            rules[rule] = {"title": title, **(by_name or {"verdict": "not tested"})}
        return {
            "started": self.started.isoformat(timespec="seconds"),
            "seconds": round((datetime.now(UTC) - self.started).total_seconds(), 1),
            "exit_status": exit_status,
            "backend": self.options.backend,
            "device": ", ".join(sorted(self.devices)) or "none",
            "system": platform.system(),
            "versions": versions(),
            "subjects": {name: describe(target) for name, target in self.targets.items()},
            "required": list(self.options.required),
            "exercised": sorted(self.exercised),
            "rules": rules,
            "shapes": self._shapes(),
        }


def _reason(report: pytest.TestReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr)


def _last_line(report: pytest.TestReport) -> str:
    lines: Sequence[str] = [line for line in str(report.longreprtext).splitlines() if line.startswith("E  ")]
    return lines[0].removeprefix("E").strip() if lines else str(report.longreprtext).strip().rpartition("\n")[2]


def markdown(content: Mapping[str, Any]) -> str:
    """Return a report as a page: what was tested, a table of rules by subject, and the failures."""
    names = [*content["subjects"], "reference"]
    lines = ["# Conformance report", ""]
    packages = ", ".join(f"{name} {version}" for name, version in content["versions"].items())
    lines += [f"{content['started']}, {content['seconds']} s, exit status {content['exit_status']}. {packages}.", ""]
    lines += [f"Backend `{content['backend']}` on {content['device']}, {content['system']}.", ""]
    lines += [f"Exercised: {', '.join(content['exercised']) or 'nothing'}.", ""]
    for name, subject in content["subjects"].items():
        if "manifest_sha256" in subject:
            digest = subject["manifest_sha256"][:16]
            lines.append(f"- {name}: precision {subject['precision']}, manifest sha256 {digest}...")
    lines += ["", "Of each rule: the verdict, decodes or cases judged, near-ties if any.", ""]
    lines += [f"| rule | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    for rule, by_name in content["rules"].items():
        lines.append(f"| {rule} {by_name['title']} | {' | '.join(_cell(by_name.get(name)) for name in names)} |")
    lines += shapes_page(content["shapes"])
    failures = [
        line for by_name in content["rules"].values() for result in _results(by_name) for line in result["failures"]
    ]
    if failures:
        lines += ["", "## Failures", "", *(f"- {line}" for line in dict.fromkeys(failures))]
    reasons = sorted(
        {
            line
            for by_name in content["rules"].values()
            for result in _results(by_name)
            for line in result["not_applicable"]
        }
    )
    if reasons:
        lines += ["", "## Not applicable", "", *(f"- {line.removeprefix('not applicable: ')}" for line in reasons)]
    return "\n".join(lines) + "\n"


def _results(by_name: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [value for value in by_name.values() if isinstance(value, dict)]


def _cell(result: Mapping[str, Any] | None) -> str:
    if result is None:
        return "-"
    ties = result["near_ties"]
    counted = f", {ties} near-tie{'s' if ties > 1 else ''}" if ties else ""
    return f"{result['verdict']}, {result['examples']}{counted}"


def write_report(content: Mapping[str, Any], path: Path) -> None:
    """Write a report, JSON or by its suffix Markdown, whole or not at all."""
    text = markdown(content) if path.suffix == ".md" else json.dumps(content, indent=1) + "\n"
    write_bytes_whole(path, text.encode())
