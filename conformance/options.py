"""What the suite is asked for on its command line."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from mulo_sd.engines.backends.base import CAPABILITIES
from mulo_sd.engines.bundle.manifest import MANIFEST_NAME
from mulo_sd.engines.commands.backend_argument import BACKEND_HELP, backend_name
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.files.whole_files import check_writable

# Beyond pytest's own, 0 to 6.
NOTHING_EXECUTED, REQUIREMENT_MISSING = 20, 21


@dataclass(frozen=True)
class Options:
    """The command line.

    Attributes:
        bundles: Folders of the bundles whose decodes are compared; none is the demo's in fp32 and fp16.
        backend: What runs them.
        models: "module:function" of the reference's models, where the weights are no preset's.
        required: Capabilities without which the run fails.
        known_failures: File of what is known to fail.
        report: Where the JSON report goes.
        near_ties: Share of the decisions of a kind that precision may excuse; None is by the bundle's precision.
    """

    bundles: tuple[Path, ...]
    backend: str
    models: str | None
    required: tuple[str, ...]
    known_failures: Path | None
    report: Path | None
    near_ties: float | None


def add_options(parser: pytest.Parser) -> None:
    """Declare the suite's options."""
    group = parser.getgroup("conformance", "what is tested for conformance")
    group.addoption(
        "--bundle",
        action="append",
        type=user_path,
        default=[],
        metavar="DIR",
        help="a bundle to test; may be repeated; default: the demo's in fp32 and fp16, built where they are not there",
    )
    group.addoption(
        "--backend",
        type=backend_name,
        default="ort",
        metavar="NAME",
        help=f"{BACKEND_HELP}; default: ort",
    )
    group.addoption(
        "--models",
        metavar="MODULE:FUNCTION",
        help="returns the reference.models.Models of bundles that hold your own weights",
    )
    group.addoption(
        "--require",
        action="append",
        choices=CAPABILITIES,
        default=[],
        help="fail unless this was tested; may be repeated",
    )
    group.addoption("--known-failures", type=user_path, metavar="FILE", help="lines of `test or rule: reason`")
    group.addoption(
        "--near-ties",
        type=float,
        metavar="SHARE",
        help="of decisions that precision may excuse; default: 0.003 in fp32, 0.04 in fp16, 0.3 in bf16",
    )
    group.addoption("--report", type=user_path, metavar="FILE", help="report of every rule: JSON, or Markdown in .md")


def read_options(config: pytest.Config) -> Options:
    """Return the options of a run.

    Raises:
        pytest.UsageError: a file or folder that is named is not there.
    """
    known_failures: Path | None = config.getoption("--known-failures")
    report: Path | None = config.getoption("--report")
    if known_failures is not None and not known_failures.is_file():
        raise pytest.UsageError(f"--known-failures {known_failures}: expected a file, found none")
    if report is not None:
        try:
            check_writable(report)
        except OSError as error:
            raise pytest.UsageError(f"--report {report}: cannot write it: {error.strerror or error}") from None
    near_ties: float | None = config.getoption("--near-ties")
    if near_ties is not None and not 0 <= near_ties <= 0.5:
        raise pytest.UsageError(f"--near-ties: expected a share in 0..0.5, got {near_ties}")
    for bundle in config.getoption("--bundle"):
        if not (bundle / MANIFEST_NAME).is_file():
            raise pytest.UsageError(f"--bundle {bundle}: expected a bundle's folder, with {MANIFEST_NAME}, found none")
    return Options(
        tuple(config.getoption("--bundle")),
        config.getoption("--backend"),
        config.getoption("--models"),
        tuple(config.getoption("--require")),
        known_failures,
        report,
        near_ties,
    )
