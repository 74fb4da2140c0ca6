"""python -m reference.demo.draw "two red circles" --out circles.png: draw a prompt with the eager reference.

Slower than the engines' `generate`, whose images it is the measure of: same prompt, seed and settings,
same tokens up to near-ties (CONF-3).
"""

import argparse
import dataclasses
import sys
import time
from functools import partial
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from PIL import Image
from rich.console import Console

from mulo_sd.engines.commands.command_line import command, program, purpose
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.files.whole_files import check_writable, write_whole
from mulo_sd.engines.prompts import PromptError
from mulo_sd.reference import demo
from mulo_sd.reference.decode import decode
from mulo_sd.reference.demo.models import RECOMMENDED
from mulo_sd.reference.images import pixels_from_images
from mulo_sd.reference.numbers import MAX_THREADS, seed_number, whole_number
from mulo_sd.reference.settings import UNDRAFTED_MODES, Settings
from mulo_sd.reference.weights import WeightsError

# Where an option has another name than its field: as in python -m engines.generate.
OPTION_NAMES = {"guidance_scale": "guidance"}


class RequestError(ValueError):
    """A request that cannot be met; its message is one line for the user."""


def _window(text: str) -> int | None:
    try:
        return None if text == "infinite" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number or 'infinite', got {text!r}") from None


def _drafters(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers of models, such as 1 or 1,2, got {text!r}") from None


def _how_to_read(hint: Any) -> dict[str, Any]:
    """Return what argparse needs to read a field of this type."""
    if get_origin(hint) is Literal:
        return {"choices": get_args(hint)}
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    if hint in (int, float):
        return {"type": hint}
    return {"type": _drafters if get_origin(hint) is tuple else _window}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program("reference.demo.draw"), description=purpose(__doc__))
    parser.add_argument("prompt", help='e.g. "a red circle left of a blue square"')
    parser.add_argument("--out", type=user_path, required=True, help="PNG to write")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--threads", type=int, help="of the CPU; default: torch's choice")
    group = parser.add_argument_group("settings", "docs/semantics.md explains each; default: the demo's")
    for name, hint in get_type_hints(Settings).items():
        option = f"--{OPTION_NAMES.get(name, name).replace('_', '-')}"
        shown = f"default: {getattr(RECOMMENDED, name)}"
        group.add_argument(option, dest=name, default=argparse.SUPPRESS, help=shown, **_how_to_read(hint))
    return parser.parse_args()


def _settings(arguments: argparse.Namespace) -> Settings:
    given = {item.name for item in dataclasses.fields(Settings)} & set(vars(arguments))
    try:
        return dataclasses.replace(RECOMMENDED, **{name: getattr(arguments, name) for name in given})
    except ValueError as error:
        raise RequestError(str(error)) from None


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
    if settings.mode not in UNDRAFTED_MODES:
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
