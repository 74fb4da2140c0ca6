"""python -m engines.bench: says where the benchmark went."""

import sys

from mulo_sd.engines.commands.command_line import UNUSABLE, command


@command
def main() -> int:
    """Say it in a line; the status is that of a request that cannot be used."""
    print("error: the benchmark is `python -m conformance.bench` in a checkout, else `mulo-sd bench`", file=sys.stderr)
    return UNUSABLE


if __name__ == "__main__":
    sys.exit(main())
