"""python -m reference.pictograms.oracle_scores: how well each up-sampler keeps a real scene of pictograms."""

import sys

from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.reference import oracle_scores
from mulo_sd.reference.pictograms.accuracy import PICTOGRAMS
from mulo_sd.reference.pictograms.shipped import load


@command
def main() -> int:
    """Print a table."""
    parser = command_parser("reference.pictograms.oracle_scores", __doc__)
    oracle_scores.add_arguments(parser, PICTOGRAMS.tasks)
    return oracle_scores.run(parser, PICTOGRAMS, lambda: load().models)


if __name__ == "__main__":
    sys.exit(main())
