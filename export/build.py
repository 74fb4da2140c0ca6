"""python -m export.build --precision fp16: build a bundle of the demo, of your own or of published models."""

import sys

from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.export.build_arguments import add_arguments


@command
def main() -> int:
    """Build a bundle and print what is in it."""
    parser = command_parser("export.build", __doc__)
    add_arguments(parser)
    arguments = parser.parse_args()
    from mulo_sd.export.build_as_asked import build_as_asked  # torch and its exporter

    return build_as_asked(arguments)


if __name__ == "__main__":
    sys.exit(main())
