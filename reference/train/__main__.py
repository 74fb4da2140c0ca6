"""python -m reference.train --images DIR --out DIR: from a folder of captioned pictures to a bundle that draws them."""

import argparse
import errno
import sys
from collections.abc import Callable

import torch
from rich.console import Console

from mulo_sd.engines.commands.command_line import INTERRUPTED, UNUSABLE, command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.commands.interrupts import signals_interrupt
from mulo_sd.reference.train.arguments import add_training_arguments
from mulo_sd.reference.train.budget import with_steps_for
from mulo_sd.reference.train.checks import check
from mulo_sd.reference.train.choices import begun, chosen
from mulo_sd.reference.train.finish import check_can_build, finish, refresh
from mulo_sd.reference.train.jobs import train_model
from mulo_sd.reference.train.page import write_page
from mulo_sd.reference.train.place import Place
from mulo_sd.reference.train.stop_request import Stopped

AGAIN = "the same command goes on from there"
USAGE = "%(prog)s [-h] [MODEL ...] (--images DIR | --world NAME) --out DIR [OPTION ...]"
# What the same command meets again.
OF_THE_PLACE = (errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG)


def _arguments() -> argparse.Namespace:
    """Read the command line; what is out of range, or contradicts itself, ends the command with a line."""
    parser = command_parser("reference.train", __doc__, usage=USAGE)
    add_training_arguments(parser)
    arguments = parser.parse_args()
    try:
        check(arguments)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def _train(arguments: argparse.Namespace, say: Callable[[str], None]) -> None:
    """Train what is asked for, in order; of a folder's models make a bundle."""
    place = Place(arguments.out)
    choice = chosen(arguments, place)
    makes_bundle = not (arguments.model or arguments.no_bundle) and (choice.world is None or choice.world.captions)
    if makes_bundle:
        check_can_build()
    with place.taken():
        training = begun(choice, arguments, place, say)
        for name in choice.recipe.models:
            timed = training
            if arguments.minutes is not None:
                timed = with_steps_for(training, name, arguments.minutes, say)
            train_model(timed, name, say)
        if write_page(training):
            say(f"wrote {place.card}")
        captions = training.material.captions
        if arguments.model:
            refresh(training, say)
        elif captions is not None:
            finish(training, captions, not arguments.no_bundle, say)


@command
def main() -> int:
    """Train, and end with a line whatever happens."""
    arguments = _arguments()
    console = Console(soft_wrap=True, highlight=False)

    def say(line: str) -> None:
        console.print(line, markup=False)

    try:
        with signals_interrupt():
            _train(arguments, say)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        return INTERRUPTED
    except KeyboardInterrupt:
        print(f"error: interrupted; {AGAIN}", file=sys.stderr)
        return INTERRUPTED
    except ValueError as error:  # WeightsError, RunError and FolderError among them
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return UNUSABLE
    except OSError as error:
        where = f"{error.filename or arguments.out}: "
        advice = "give another --out, or mend this one" if error.errno in OF_THE_PLACE else AGAIN
        print(f"error: {where}{error.strerror or error}; {advice}", file=sys.stderr)
        return UNUSABLE
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        print("error: not enough memory; give a smaller --batch, --dim, --layers or --pixels", file=sys.stderr)
        return UNUSABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())
