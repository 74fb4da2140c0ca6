"""The conformance suite against the backends of a GPU, each in a process of its own with an end."""

import subprocess
import sys
from pathlib import Path

from mulo_sd.conformance.tools.gpu.plans import BACKENDS
from mulo_sd.conformance.tools.gpu.report import Asked, Report

SUITE = Path(__file__).resolve().parents[2]


def laws(report: Report, asked: Asked) -> None:
    """Run the suite, of some bundles or of those that it builds itself; tell its last line."""
    bundles = [argument for folder in asked.bundles for argument in ("--bundle", str(folder.resolve()))]
    for name in BACKENDS:
        with report.step("laws", backend=name):
            file = report.path.with_name(f"laws-{name}.md").resolve()
            command = [sys.executable, "-m", "pytest", str(SUITE), "-q", "--backend", name, *bundles]
            done = subprocess.run(
                [*command, "--report", str(file)],
                capture_output=True,
                text=True,
                cwd=SUITE.parent,
                timeout=asked.seconds,
                check=False,
            )
            last = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1:]
            report.add(backend=name, status=done.returncode, said=last[0] if last else "")
            if done.returncode:
                report.failures.append(f"laws: {name}: status {done.returncode}")
