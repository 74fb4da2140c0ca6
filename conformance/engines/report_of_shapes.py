"""The report's part on shapes: which were held against the reference, by bundle and graph, and which never."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mulo_sd.conformance.engines.shapes import MAX_SHARED_TOKENS, Shape, by_kind, due_shapes
from mulo_sd.engines.bundle.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES, Manifest

MAX_SHOWN = 8
# By graph and kind, values that were met and values that never were.
OfSubject = Mapping[str, Mapping[str, Mapping[str, Sequence[str]]]]


class ShapesMet:
    """Collects the shapes that tests have held against the reference."""

    def __init__(self) -> None:
        self.met: dict[str, dict[Shape, None]] = {}
        self.max_shared: dict[str, float] = {}

    def add(self, subject: str, shapes: Iterable[Sequence[Any]], max_shared: float | None) -> None:
        """Take the shapes of a test that has passed."""
        self.met.setdefault(subject, {}).update(dict.fromkeys(Shape(*shape) for shape in shapes))
        if max_shared is not None:
            self.max_shared[subject] = max_shared

    def of(self, subject: str, bundle: Path) -> dict[str, dict[str, dict[str, list[str]]]]:
        """Return what was met of what a bundle's loop asks for; nothing where there is no bundle to read."""
        path = bundle / MANIFEST_NAME
        try:
            if path.stat().st_size > MAX_MANIFEST_BYTES:
                return {}
            manifest = Manifest.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return {}
        due = due_shapes(manifest, self.max_shared.get(subject, MAX_SHARED_TOKENS))
        return by_kind(due, self.met.get(subject, {}))


def _counts(of_subject: OfSubject) -> tuple[int, int]:
    kinds_of_shapes = [values for kinds in of_subject.values() for values in kinds.values()]
    met = sum(len(values["met"]) for values in kinds_of_shapes)
    return met, met + sum(len(values["never"]) for values in kinds_of_shapes)


def summaries(shapes: Mapping[str, OfSubject]) -> list[str]:
    """Return a line for each subject of which shapes were met: how many; and one for all others."""
    counts = {name: _counts(of_subject) for name, of_subject in shapes.items()}
    lines = [
        f"{name}: {met} of {total} shapes held against the reference" for name, (met, total) in counts.items() if met
    ]
    none = [name for name, (met, total) in counts.items() if total and not met]
    return [*lines, f"no shape held against the reference: {', '.join(none)}"] if none else lines


def shapes_page(shapes: Mapping[str, OfSubject]) -> list[str]:
    """Return the lines of a page: a table for each subject of what its graphs met, and what they never met."""
    lines = ["", "## Shapes", "", "Of the shapes that a bundle's loop asks for: held against the reference, and never."]
    for name, of_subject in shapes.items():
        met, total = _counts(of_subject)
        if not total:
            continue
        lines += ["", f"{name}: {met} of {total}.", "", "| graph | of | met | never met |", "|---|---|---|---|"]
        for graph, kinds in of_subject.items():
            for kind, values in kinds.items():
                count = len(values["met"]) + len(values["never"])
                lines.append(f"| {graph} | {kind} | {len(values['met'])} of {count} | {_shown(values['never'])} |")
    return lines


def _shown(values: Sequence[str]) -> str:
    text = ", ".join(values[:MAX_SHOWN])
    return f"{text}, and {len(values) - MAX_SHOWN} more" if len(values) > MAX_SHOWN else text
