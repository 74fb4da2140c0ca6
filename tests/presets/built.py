"""A preset's bundle: built where it is not there, as every test that needs it finds it then."""

from mulo_sd.conformance.subject import KNOWN_MODELS, build_preset, hashes_of
from mulo_sd.engines.bundle import open_bundle


def check_preset(models: str, precision: str) -> None:
    """Build a preset, and hold what the manifest says against its models."""
    manifest = open_bundle(build_preset(models, precision, plans=False)).manifest
    assert manifest.precision == precision
    assert [entry.weights_sha256 for entry in manifest.models] == hashes_of(KNOWN_MODELS[models]())
    errors = {name: (graph.measured_error, graph.tolerance) for name, graph in manifest.graphs.items()}
    assert all(error <= tolerance for error, tolerance in errors.values()), errors
