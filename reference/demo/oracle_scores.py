"""python -m reference.demo.oracle_scores: how well each up-sampler keeps a real scene of the demo."""

import sys

from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.reference import demo, oracle_scores
from mulo_sd.reference.demo.accuracy import DEMO


@command
def main() -> int:
    """Print a table."""
    parser = command_parser("reference.demo.oracle_scores", __doc__)
    oracle_scores.add_arguments(parser, DEMO.tasks)
    return oracle_scores.run(parser, DEMO, demo.load)


if __name__ == "__main__":
    sys.exit(main())
