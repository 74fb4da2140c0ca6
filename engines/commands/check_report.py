"""What `mulo-sd check` prints: lines, a table on a terminal, or JSON for programs."""

import json
import os
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mulo_sd.engines.backends.host import Host
from mulo_sd.engines.backends.readiness import Readiness, command_of, few, told
from mulo_sd.engines.backends.verdicts import WORDS, Outcome, Verdict
from mulo_sd.engines.bundle import Bundle

COLOURS = {Outcome.RUNS: "green", Outcome.UNKNOWN: "yellow", Outcome.REBUILD: "yellow", Outcome.INSTALL: "yellow"}


def bundle_line(bundle: Bundle) -> str:
    """Return what a bundle is; it was opened, so that its files are there and their hashes right."""
    files = bundle.manifest.files()
    megabytes = sum(entry.size_bytes for entry in files) / 1e6
    named = f"{bundle.manifest.name[:80]!r}, {bundle.manifest.precision}"
    return f"{bundle.path}: {named}: {len(files)} files of {megabytes:.1f} MB are whole"


def host_line(host: Host) -> str:
    """Return what this machine is."""
    gpus = ", ".join(f"{gpu.name} ({gpu.compute_capability})" for gpu in host.gpus or ()) or "no NVIDIA GPU"
    driver = f"driver {host.driver}, " if host.driver else ""
    packages = ", ".join(f"{name} {version}".strip() for name, version in sorted(host.packages.items()))
    return f"this machine: {host.platform}, {driver}{gpus}; {packages or 'no runtime'}"


def backend_lines(readiness: Readiness, bundle: Bundle, host: Host) -> list[str]:
    """Return a line for each verdict on a backend and its plans; of plans alike, one for all of them."""
    graphs: dict[Verdict, list[str]] = {}
    for plan in readiness.plans:
        graphs.setdefault(plan.verdict, []).append(plan.graph)
    whole = readiness.verdict
    lines = [] if whole in graphs else [f"{readiness.backend}: {told(whole, bundle, host)}"]
    for verdict, names in graphs.items():
        if whole not in graphs and verdict.outcome is Outcome.RUNS:
            continue  # they would, were it not for what the first line says
        of = f"all {len(names)} plans" if len(names) == len(readiness.plans) else f"plans of {few(names)}"
        lines.append(f"{readiness.backend}: {of}: {told(verdict, bundle, host)}")
    return lines


def overview_line(readiness: Readiness, bundle: Bundle, host: Host) -> str:
    """Return a line for a backend: its gravest verdict."""
    return f"{readiness.backend}: {told(readiness.verdict, bundle, host)}"


def print_table(listed: Sequence[Readiness], bundle: Bundle, host: Host, console: Console) -> None:
    """Print a table of backends, and below it the commands that would help, which may be long, unbroken."""
    table = Table()
    for column in ("backend", "", "why"):
        table.add_column(column)
    for readiness in listed:
        verdict = readiness.verdict
        words = Text(WORDS[verdict.outcome], style=COLOURS.get(verdict.outcome, "red"))
        table.add_row(readiness.backend, words, Text(verdict.reason))
    console.print(table)
    for readiness in listed:
        command = command_of(readiness.verdict, bundle, host)
        if command:
            console.print(Text(f"{readiness.backend}: {command}"), soft_wrap=True)


def as_json(listed: Sequence[Readiness], bundle: Bundle, host: Host) -> str:
    """Return everything as JSON."""
    content = {
        "bundle": os.fspath(bundle.path),
        "name": bundle.manifest.name,
        "precision": bundle.manifest.precision,
        "host": {
            "platform": host.platform,
            "driver": host.driver,
            "gpus": [gpu._asdict() for gpu in host.gpus or ()],
            "packages": dict(sorted(host.packages.items())),
        },
        "backends": [
            {"backend": readiness.backend}
            | _fields(readiness.verdict, bundle, host)
            | {
                "plans": [
                    {"graph": plan.graph, "version": plan.version} | _fields(plan.verdict, bundle, host)
                    for plan in readiness.plans
                ]
            }
            for readiness in listed
        ],
    }
    return json.dumps(content, indent=1)


def _fields(verdict: Verdict, bundle: Bundle, host: Host) -> dict[str, Any]:
    command = command_of(verdict, bundle, host)
    return {"outcome": verdict.outcome.value, "reason": verdict.reason, "command": command or None}
