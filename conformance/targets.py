"""Which bundles a run opens: the minimal preset for the laws, and those whose decodes are compared."""

import json
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from mulo_sd.conformance.options import Options
from mulo_sd.conformance.subject import Subject, build_preset, open_subject
from mulo_sd.engines.bundle.manifest import MANIFEST_NAME
from mulo_sd.engines.commands.demo_bundle import bundle_path

PRECISIONS = ("fp32", "fp16")


class Target(NamedTuple):
    """A bundle to open.

    Attributes:
        label: For test names and the report.
        path: Its folder.
        preset: "minimal" or "demo", which can be built; None is somebody's own.
        precision: Of a preset.
        backend: What runs it.
        models: `Options.models`.
    """

    label: str
    path: Path
    preset: str | None
    precision: str
    backend: str
    models: str | None


def preset_target(models: str, precision: str, backend: str = "ort") -> Target:
    """Return a preset's bundle."""
    return Target(f"{models}-{precision}", bundle_path(models, precision), models, precision, backend, None)


def _presets(models: str, options: Options) -> list[Target]:
    return [preset_target(models, precision, options.backend) for precision in PRECISIONS]


def small_targets(options: Options) -> list[Target]:
    """Return the bundles on which an engine's decodes are held to every law."""
    return _presets("minimal", options)


def traced_targets(options: Options) -> list[Target]:
    """Return the bundles whose decodes are compared with the reference's."""
    if not options.bundles:
        return _presets("demo", options)
    return [Target(path.name, path, None, "", options.backend, options.models) for path in options.bundles]


def shaped_targets(options: Options) -> list[Target]:
    """Return the bundles whose graphs are held to the reference in every shape: small, oblong, large, and the traced.

    The oblong and the large ones are of the precisions of the bundles under test; without any, float32 is enough.
    """
    precisions = sorted({_precision(path) for path in options.bundles}) or ["fp32"]
    siblings = [
        preset_target(f"minimal-{size}", precision, options.backend)
        for size in ("oblong", "large")
        for precision in precisions
    ]
    targets = [*small_targets(options), *siblings, *traced_targets(options)]
    return list({target.label: target for target in targets}.values())


def oblong_targets(options: Options) -> list[Target]:
    """Return the bundles whose decodes on grids that are no squares are held to every law."""
    return [target for target in shaped_targets(options) if target.preset == "minimal-oblong"]


def _precision(bundle: Path) -> str:
    """Return the precision of a bundle; that it is a whole one is the business of whoever opens it."""
    try:
        return str(json.loads((bundle / MANIFEST_NAME).read_bytes())["precision"])
    except (OSError, ValueError, KeyError, TypeError):
        return "fp32"


@cache
def open_target(target: Target) -> Subject:
    """Open a bundle, once a process.

    Raises:
        SubjectError: it cannot be built or opened, or the backend cannot be used.
    """
    if target.preset is not None:
        build_preset(target.preset, target.precision, plans=target.backend in ("trt", "trt-rtx"))
    return open_subject(target.path, target.backend, target.models)


def describe(target: Target) -> dict[str, Any]:
    """Return what a report says of a bundle."""
    manifest = target.path / MANIFEST_NAME
    if not manifest.is_file():
        return {"path": str(target.path), "state": "not there"}
    content = manifest.read_bytes()
    parsed = json.loads(content)
    return {
        "path": str(target.path),
        "backend": target.backend,
        "precision": parsed["precision"],
        "manifest_sha256": sha256(content).hexdigest(),
        "weights_sha256": [entry["weights_sha256"] for entry in parsed["models"]],
        "onnx_sha256": {name: graph["onnx"]["sha256"] for name, graph in parsed["graphs"].items()},
        "tools": parsed["tools"],
    }
