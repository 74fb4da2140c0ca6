"""python -m engines.check DIR --backend NAME: does a bundle run here, or what must be built or installed first?"""

import argparse
import json
import sys

from rich.console import Console

from mulo_sd.engines.backends import BACKENDS
from mulo_sd.engines.backends.host import Host
from mulo_sd.engines.backends.readiness import judge_backend
from mulo_sd.engines.backends.tensorrt.plan_header import HeaderCheck
from mulo_sd.engines.backends.verdicts import Outcome
from mulo_sd.engines.bundle import BundleError, open_bundle
from mulo_sd.engines.commands.backend_argument import BACKEND_HELP, backend_name
from mulo_sd.engines.commands.check_report import (
    as_json,
    backend_lines,
    bundle_line,
    host_line,
    overview_line,
    print_table,
)
from mulo_sd.engines.commands.command_line import UNUSABLE, command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.commands.demo_bundle import bundle_folder
from mulo_sd.engines.files.paths import user_path


def _arguments() -> argparse.Namespace:
    parser = command_parser(
        "engines.check",
        f"{__doc__} Nothing is loaded onto a GPU.",
        epilog="exit status: 0 it runs here (without --backend: on one of the backends), 1 it does not or nobody can "
        "tell, 2 the bundle cannot be used",
    )
    parser.add_argument("bundle", type=user_path, metavar="DIR", help="the bundle's folder, or the name of ours")
    parser.add_argument(
        "--backend", type=backend_name, metavar="NAME", help=f"{BACKEND_HELP}; default: each of them, in a table"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    return parser.parse_args()


@command
def main() -> int:
    """Check a bundle on this machine and print what runs, what does not, and what to do.

    Returns:
        0 where it runs on the backend, or on one where none is named; 1 where it does not or only loading tells; 2
        where the bundle cannot be used.
    """
    arguments = _arguments()
    try:
        bundle = open_bundle(bundle_folder(arguments.bundle))
    except BundleError as error:
        if arguments.json:
            print(json.dumps({"bundle": str(arguments.bundle), "error": str(error)}))
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
    host = Host.of_this_machine()
    names = BACKENDS if arguments.backend is None else (arguments.backend,)
    headers = HeaderCheck()
    listed = [judge_backend(name, bundle, host, headers) for name in names]
    if arguments.json:
        print(as_json(listed, bundle, host))
    else:
        print(bundle_line(bundle))
        print(host_line(host))
        if arguments.backend is not None:
            print("\n".join(backend_lines(listed[0], bundle, host)))
        elif sys.stdout.isatty():
            print_table(listed, bundle, host, Console())
        else:
            print("\n".join(overview_line(readiness, bundle, host) for readiness in listed))
    return 0 if any(readiness.verdict.outcome is Outcome.RUNS for readiness in listed) else 1


if __name__ == "__main__":
    sys.exit(main())
