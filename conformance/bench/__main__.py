"""python -m conformance.bench: one table of speed, memory and host share, held against what the machine allows.

Without --shape: the demo bundle's modes beside eager PyTorch, paired in one run. With --shape: published models by
size, with random weights, at declared rates of acceptance. Results stand in the folder of --out: bench.json, written
anew after each, and figures. With --check: a short run that fails where passes or the host's share have moved.
"""

import argparse
import importlib.util
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from mulo_sd.conformance.bench.declared import MODES as DECLARED_MODES
from mulo_sd.conformance.bench.defaults import ACCEPTANCES, PROMPTS, QUICK_PROMPTS, QUICK_REPEAT, REPEAT
from mulo_sd.conformance.bench.errors import BenchError
from mulo_sd.conformance.bench.modes import MODE_NAMES
from mulo_sd.engines.backends import BackendError
from mulo_sd.engines.bundle import BundleError
from mulo_sd.engines.bundle.contract import PRECISIONS
from mulo_sd.engines.commands.backend_argument import add_backend_argument
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.commands.demo_bundle import BUNDLE_HELP
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.files.whole_files import check_writable
from mulo_sd.engines.settings import SettingsError

KERNELS = ("triton", "torch")
MAX_TOKENS = 1e4
# A table on a terminal that is narrower wraps; in a file it would be cut.
WIDTH = 170


def _arguments() -> argparse.Namespace:
    parser = command_parser(
        "conformance.bench",
        __doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=user_path, default=Path("bench"), help="folder of the results; default: %(default)s"
    )
    parser.add_argument("--repeat", type=int, help=f"repetitions; default: {REPEAT}, with --quick {QUICK_REPEAT}")
    parser.add_argument(
        "--prompts", type=int, help=f"held-out prompts; default: {PROMPTS}, with --quick {QUICK_PROMPTS}"
    )
    parser.add_argument("--modes", nargs="+", metavar="MODE", help=f"of {', '.join(MODE_NAMES)}; default: all")
    parser.add_argument("--bundle", type=user_path, help=f"{BUNDLE_HELP}; default: demo")
    add_backend_argument(parser)
    parser.add_argument("--threads", type=int, help="of the CPU; default: the runtimes' choice")
    parser.add_argument("--seed", type=int, default=0, help="of the order, and with --shape of all that is random")
    parser.add_argument("--quick", action="store_true", help="fewer prompts and repetitions")
    parser.add_argument("--shape", nargs="+", metavar="NAME", help="published sizes, such as llamagen-xl-512")
    parser.add_argument(
        "--acceptance", nargs="+", type=float, metavar="RATE", help=f"with --shape; default: {ACCEPTANCES}"
    )
    parser.add_argument("--correlation", type=float, help="with --shape: length in cells of patches; default: 1.5")
    parser.add_argument(
        "--tokens",
        nargs="+",
        type=_tokens,
        metavar="MODE=NUMBER",
        help="with --shape: tokens that a pass of the target decides in modes such as sjd; default: the demo's",
    )
    parser.add_argument("--device", help="with --shape, as PyTorch names it; default: cuda")
    parser.add_argument("--precision", choices=PRECISIONS, help="with --shape; default: bf16")
    parser.add_argument("--kernels", choices=KERNELS, help="with --shape; default: triton on cuda, else torch")
    parser.add_argument(
        "--check", type=user_path, metavar="FILE", help="compare with what is expected; write no results"
    )
    parser.add_argument("--record", type=user_path, metavar="FILE", help="write what --check expects, and no results")
    return parser.parse_args()


def _tokens(text: str) -> tuple[str, float]:
    """Return a mode and its tokens a pass."""
    mode, _, number = text.partition("=")
    if mode not in DECLARED_MODES:
        raise argparse.ArgumentTypeError(f"expected MODE=NUMBER of {', '.join(DECLARED_MODES)}; got {text!r:.80}")
    try:
        tokens = float(number)
    except ValueError:
        tokens = math.nan
    if not 1 <= tokens <= MAX_TOKENS:
        raise argparse.ArgumentTypeError(f"{mode}: expected 1..{MAX_TOKENS:g} tokens a pass, got {number!r:.80}")
    return mode, tokens


def _check_range(name: str, value: float | None, low: float, high: float) -> None:
    """Raise BenchError where a number is out of its range."""
    if value is not None and not low <= value <= high:
        raise BenchError(f"--{name}: expected {low:g}..{high:g}, got {value:g}")


def _check(arguments: argparse.Namespace) -> None:
    """Hold the arguments against their ranges.

    Raises:
        BenchError: one is wrong.
    """
    for name, low, high in (("repeat", 1, 1000), ("prompts", 1, 1000), ("threads", 1, 1024), ("seed", 0, 2**63 - 1)):
        _check_range(name, getattr(arguments, name), low, high)
    for rate in arguments.acceptance or []:
        _check_range("acceptance", rate, 0, 1)
    _check_range("correlation", arguments.correlation, 0, 1000)
    for name in arguments.modes or []:
        if name not in MODE_NAMES:
            raise BenchError(f"--modes: expected some of {', '.join(MODE_NAMES)}, got {name!r}")
    if not arguments.shape:
        for name in ("acceptance", "correlation", "tokens", "device", "precision", "kernels"):
            if getattr(arguments, name) is not None:
                raise BenchError(f"--{name}: expected it beside --shape alone")
    elif arguments.bundle is not None or arguments.check is not None or arguments.record is not None:
        raise BenchError("--shape: expected neither --bundle, --check nor --record beside it")
    if arguments.check is not None and arguments.record is not None:
        raise BenchError("--record: expected no --check beside it")
    checks = arguments.check is not None or arguments.record is not None
    for name in ("repeat", "quick") + (("prompts", "modes") if arguments.check is not None else ()):
        if checks and getattr(arguments, name):
            raise BenchError(f"--{name}: expected it without --check and --record")
    for path in (arguments.out, arguments.record):
        if path is not None and not checks and path.exists() and not path.is_dir():
            raise BenchError(f"--out: expected a folder, got the file {path}")
    if arguments.record is not None:
        try:
            check_writable(arguments.record)
        except OSError as error:
            raise BenchError(f"--record: {error.strerror or error}; got {arguments.record}") from None
    missing = [name for name in ("torch", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        raise BenchError(f"expected {', '.join(missing)} to compare with; install the extra `mulo-sd[bench]`")


@contextmanager
def _progress(console: Console, total: int | None) -> Iterator[Callable[[str], None]]:
    """Show a bar; yield what names the image that is drawn."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Into a file it would leave an empty line.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("starting", total=total)
        yield lambda text: progress.update(bar, advance=1, description=text)


def _run(arguments: argparse.Namespace, console: Console, errors: Console) -> None:
    """Do what the arguments ask for; what each part needs is loaded with it."""
    if arguments.shape:
        from mulo_sd.conformance.bench.run_shapes import run_shapes

        run_shapes(arguments, console, lambda total: _progress(errors, total))
    elif arguments.check is not None or arguments.record is not None:
        from mulo_sd.conformance.bench.run_demo import run_check

        run_check(arguments, console, lambda total: _progress(errors, total))
    else:
        from mulo_sd.conformance.bench.run_demo import run_demo

        run_demo(arguments, console, lambda total: _progress(errors, total))


@command
def main() -> int:
    """Measure, print, and write what was measured."""
    arguments = _arguments()
    console, errors = Console(), Console(stderr=True)
    if not console.is_terminal:
        console = Console(width=WIDTH)
    try:
        _check(arguments)
        checks = arguments.check is not None or arguments.record is not None
        if not checks:  # the check has its own, smaller, number
            arguments.prompts = arguments.prompts or (QUICK_PROMPTS if arguments.quick else PROMPTS)
            arguments.repeat = arguments.repeat or (QUICK_REPEAT if arguments.quick else REPEAT)
        _run(arguments, console, errors)
    except (BenchError, BundleError, BackendError, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or arguments.out}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"error: interrupted; what was measured so far stands in {arguments.out}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
