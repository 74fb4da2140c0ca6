"""python -m reference.demo.draw "two red circles" --out circles.png: draw a prompt with the eager reference.

Slower than the engines' `generate`, whose images it is the measure of: same prompt, seed and settings,
same tokens up to near-ties (CONF-3).
"""

import argparse
import dataclasses
import sys
import time
from functools import partial

import torch
from PIL import Image
from rich.console import Console

from mulo_sd.engines import settings as engine_settings
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.commands.setting_arguments import (
    add_setting_arguments,
    leave_out_unread,
    settings_from_arguments,
)
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.files.whole_files import check_writable, write_whole
from mulo_sd.engines.prompts import PromptError
from mulo_sd.reference import demo
from mulo_sd.reference.decode import decode
from mulo_sd.reference.demo.models import RECOMMENDED
from mulo_sd.reference.images import pixels_from_images
from mulo_sd.reference.numbers import MAX_THREADS, seed_number, whole_number
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.weights import WeightsError


class RequestError(ValueError):
    """A request that cannot be met; its message is one line for the user."""


def _arguments() -> argparse.Namespace:
    parser = command_parser("reference.demo.draw", __doc__)
    parser.add_argument("prompt", help='e.g. "a red circle left of a blue square"')
    parser.add_argument("--out", type=user_path, required=True, help="PNG to write")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--threads", type=int, help="of the CPU; default: torch's choice")
    add_setting_arguments(parser, "the demo's")
    return parser.parse_args()


def _settings(arguments: argparse.Namespace) -> Settings:
    try:
        named = settings_from_arguments(arguments)
        settings = dataclasses.replace(RECOMMENDED, **named)
        leave_out_unread(named, engine_settings.Settings(**dataclasses.asdict(settings)))
    except ValueError as error:
        raise RequestError(str(error)) from None
    return settings


def _draw(arguments: argparse.Namespace, console: Console) -> None:
    out, settings = arguments.out, _settings(arguments)
    if out.suffix.lower() != ".png":
        raise RequestError(f"{out}: expected a file name that ends in .png, got {out.suffix!r}")
    try:
        check_writable(out)
    except OSError as error:
        raise RequestError(f"{out}: cannot write it: {error.strerror or error}") from None
    try:
        seed_number(arguments.seed)
        if arguments.threads is not None:
            torch.set_num_threads(whole_number("threads", arguments.threads, 1, MAX_THREADS))
    except ValueError as error:
        raise RequestError(str(error)) from None
    condition = demo.condition(arguments.prompt, arguments.seed)
    models = demo.load()
    for number in settings.model_numbers:
        if number > len(models.drafters):
            raise RequestError(f"drafters: expected models in 1..{len(models.drafters)}, got {number}")
    started = time.perf_counter()
    with console.status("decoding"), torch.inference_mode():
        decoded = decode(models, condition, settings, arguments.seed)
        pixels = pixels_from_images(models.tokenizer.images_from_tokens(decoded.tokens[None]))[0]
    seconds = time.perf_counter() - started
    write_whole(out, partial(Image.fromarray(pixels.numpy()).save, format="PNG"))
    print(f"{out}: {pixels.shape[1]} x {pixels.shape[0]} pixels, mode {settings.mode}")
    print(f"  passes (NFE): target {decoded.nfe_target}, drafter {decoded.nfe_drafter}")
    if settings.decoding.drafts:
        print(f"  draft tokens accepted: {decoded.trace.acceptance_rate:.1%}")
    print(f"  time: {seconds:.2f} s")


@command
def main() -> int:
    """Draw a prompt and say what it took."""
    arguments = _arguments()
    try:
        _draw(arguments, Console(stderr=True))
    except (RequestError, PromptError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {arguments.out}: cannot write it: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted; nothing was written", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
