"""The command `mulo-sd`: one entry point, whose first argument names the command to run."""

import importlib
import sys
from importlib.metadata import PackageNotFoundError, version

from mulo_sd.commands import COMMANDS
from mulo_sd.interruption import end_early_errors_in_a_line
from mulo_sd.missing import missing_package

UNUSABLE = 2


def _usage() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:{width}}{command.purpose}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: mulo-sd COMMAND [options]",
            "",
            *lines,
            "",
            "Each has its own help: mulo-sd COMMAND --help",
            "mulo-sd --version: the installed version",
        ]
    )


def _version() -> str:
    try:
        return version("mulo-sd")
    except PackageNotFoundError:  # run from a checkout's folder
        return "(not installed)"


def main() -> int:
    """Run the command that the first argument names; return its exit status."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    end_early_errors_in_a_line(f"mulo_sd.{COMMANDS[name].module}" if name in COMMANDS else "")
    if name in ("", "-h", "--help"):
        print(_usage(), file=sys.stdout if name else sys.stderr)
        return 0 if name else UNUSABLE
    if name == "--version":
        print(f"mulo-sd {_version()}")
        return 0
    if name not in COMMANDS:
        print(f"mulo-sd: error: expected one of {', '.join(COMMANDS)}, got {name!r:.80}", file=sys.stderr)
        return UNUSABLE
    sys.argv[:2] = [f"mulo-sd {name}"]
    module = f"mulo_sd.{COMMANDS[name].module}"
    try:
        status: int = importlib.import_module(module).main()
    except ModuleNotFoundError as error:
        line = missing_package(error, module)
        if line is None:
            raise
        print(f"mulo-sd {name}: error: {line}", file=sys.stderr)
        return UNUSABLE
    return status


if __name__ == "__main__":
    sys.exit(main())
