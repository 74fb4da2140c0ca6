"""How often the evaluator of a world is right: what its command measures, prints and holds against bars.

Every held-out scene is judged twice: by its own prompt, which must hold, and as a negative control by
another scene's prompt, which it does not show and which must therefore be refused.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.files.whole_files import check_writable, write_text_whole
from mulo_sd.reference.images import images_from_pixels, pixels_from_images
from mulo_sd.reference.numbers import whole_number
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.weights import WeightsError

FIRST_SCENE = 10_000  # the scores on the model cards use the first ones
MAX_SCENES = 1_000_000
SIZES = (32, 64, 128)
BARRED_SIZE = 128
BATCH = 8

Wish = TypeVar("Wish")
Scene = TypeVar("Scene")


@dataclass(frozen=True)
class Judged:
    """A scene to judge.

    Attributes:
        task: Whose share it counts in.
        render: Its picture at a size, UInt8[size, size, 3].
        judge: Whether a picture, UInt8[size, size, 3], shows what its own prompt asks for, and what the other does.
    """

    task: str
    render: Callable[[int], NDArray[np.uint8]]
    judge: Callable[[NDArray[np.uint8]], tuple[bool, bool]]


@dataclass(frozen=True)
class Verdict:
    """What the evaluator said about one image."""

    task: str
    own_accepted: bool
    other_accepted: bool


@dataclass(frozen=True)
class Accuracy:
    """Shares of images: own prompt accepted, another scene's prompt accepted, both verdicts right."""

    own_accepted: float
    other_accepted: float
    accuracy: float


@dataclass(frozen=True)
class Measured:
    """What was measured.

    Attributes:
        accuracy: By size, by kind of picture ("rendered" and "reconstructed"), by task and "overall".
        psnr_db: Mean of the reconstructions by size, in dB.
    """

    accuracy: dict[int, dict[str, dict[str, Accuracy]]]
    psnr_db: dict[int, float]


@dataclass(frozen=True)
class Evaluated:
    """A world whose evaluator is measured.

    Attributes:
        tasks: In the order of the tables.
        scenes: (count a task, number of the first) -> scenes with their wrong prompts.
        tokenizer: Loads what reconstructs.
        judged_sizes: Pixels a side at which pictures are judged, the largest first.
        bars: The least accuracy at 128 pixels, by kind of picture.
    """

    tasks: tuple[str, ...]
    scenes: Callable[[int, int], Sequence[Judged]]
    tokenizer: Callable[[], ImageTokenizer]
    judged_sizes: tuple[int, ...]
    bars: Mapping[str, float]


def wrong_wishes(
    scenes: Sequence[Scene], wish: Callable[[Scene], Wish], is_shown: Callable[[Wish, Scene], bool]
) -> list[Wish]:
    """Return for each scene what the next one, cyclically, is asked for by, of those that it does not show.

    Raises:
        ValueError: a scene shows what every prompt asks for.
    """
    wrong = []
    for index, item in enumerate(scenes):
        others = (wish(other) for other in (*scenes[index + 1 :], *scenes[:index]))
        for other in others:
            if not is_shown(other, item):
                wrong.append(other)
                break
        else:
            raise ValueError(f"scenes: expected one whose prompt scene {index} does not show, got none; take more")
    return wrong


def accuracy_per_task(verdicts: Sequence[Verdict]) -> dict[str, Accuracy]:
    """Return the accuracy on each task, in the order in which they occur, and overall."""
    groups: dict[str, list[Verdict]] = {}
    for item in verdicts:
        groups.setdefault(item.task, []).append(item)
    return {
        name: Accuracy(
            own_accepted=float(np.mean([item.own_accepted for item in group])),
            other_accepted=float(np.mean([item.other_accepted for item in group])),
            accuracy=float(np.mean([item.own_accepted and not item.other_accepted for item in group])),
        )
        for name, group in (groups | {"overall": list(verdicts)}).items()
    }


@torch.inference_mode()
def measure(scenes: Sequence[Judged], tokenizer: ImageTokenizer, judged_sizes: Sequence[int]) -> Measured:
    """Render and reconstruct scenes at each of SIZES, and judge them at some."""
    accuracy: dict[int, dict[str, dict[str, Accuracy]]] = {}
    psnr_db: dict[int, float] = {}
    for size in SIZES:
        verdicts: dict[str, list[Verdict]] = {"rendered": [], "reconstructed": []}
        noises: list[float] = []
        for first in track(range(0, len(scenes), BATCH), description=f"{size} px"):
            part = scenes[first : first + BATCH]
            pixels = np.stack([item.render(size) for item in part])
            images = images_from_pixels(torch.from_numpy(pixels))
            decoded = tokenizer.images_from_tokens(tokenizer.tokens_from_images(images))
            noises += (10 * torch.log10(4 / (decoded - images).square().mean(dim=(1, 2, 3)))).tolist()
            if size in judged_sizes:
                shown = {"rendered": pixels, "reconstructed": pixels_from_images(decoded).numpy()}
                for name, pictures in shown.items():
                    verdicts[name] += [
                        Verdict(item.task, *item.judge(picture)) for item, picture in zip(part, pictures, strict=True)
                    ]
        psnr_db[size] = float(np.mean(noises))
        if size in judged_sizes:
            accuracy[size] = {name: accuracy_per_task(group) for name, group in verdicts.items()}
    return Measured(accuracy, psnr_db)


def _table(title: str, scores: dict[str, Accuracy], last_task: str) -> Table:
    table = Table(title=title)
    table.add_column("task")
    for column in ("accuracy", "own prompt accepted", "other's prompt accepted"):
        table.add_column(column, justify="right")
    for task, item in scores.items():
        shares = (item.accuracy, item.own_accepted, item.other_accepted)
        table.add_row(task, *(f"{share:.2%}" for share in shares), end_section=task == last_task)
    return table


def add_arguments(parser: argparse.ArgumentParser, tasks: Sequence[str], scenes: int) -> None:
    """Add the options that every such command has; `scenes` is how many it takes by default."""
    parser.add_argument(
        "--scenes", type=int, default=scenes, help=f"rounded up to a multiple of {len(tasks)}, one part a task"
    )
    parser.add_argument("--json", type=user_path, help="write the figures into this file too")


def check_arguments(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """End the command where an option makes no sense."""
    try:
        whole_number("--scenes", arguments.scenes, 1, MAX_SCENES)
    except ValueError as error:
        parser.error(str(error))
    if arguments.json:
        try:
            check_writable(arguments.json)
        except OSError as error:
            parser.error(f"--json: {arguments.json}: cannot write it: {error.strerror or error}")


def _write_figures(path: Path, count: int, measured: Measured) -> None:
    """Write the figures; the keys of sizes below the barred one name them."""
    accuracy = {
        name if size == BARRED_SIZE else f"{name}_{size}px": {task: asdict(item) for task, item in scores.items()}
        for size, kinds in sorted(measured.accuracy.items(), reverse=True)
        for name, scores in kinds.items()
    }
    psnr_db = {f"{size}px": value for size, value in measured.psnr_db.items()}
    write_text_whole(path, json.dumps({"scenes": count, "accuracy": accuracy, "psnr_db": psnr_db}, indent=2) + "\n")


def run(world: Evaluated, count: int, json_file: Path | None) -> int:
    """Measure on `count` scenes, print, and return 1 where an accuracy stays below its bar."""
    try:
        tokenizer = world.tokenizer()
    except WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    scenes = world.scenes(-(-count // len(world.tasks)), FIRST_SCENE)
    measured = measure(scenes, tokenizer, world.judged_sizes)
    console = Console()
    for size in world.judged_sizes:
        for name, scores in measured.accuracy[size].items():
            console.print(_table(f"{len(scenes)} held-out scenes, {name} at {size} px", scores, world.tasks[-1]))
    console.print("mean PSNR: " + ", ".join(f"{value:.2f} dB at {size} px" for size, value in measured.psnr_db.items()))
    if json_file:
        _write_figures(json_file, len(scenes), measured)
    judged = measured.accuracy[BARRED_SIZE]
    below = {name: bar for name, bar in world.bars.items() if judged[name]["overall"].accuracy < bar}
    for name, bar in below.items():
        print(f"{name}: expected an accuracy of at least {bar:.1%}", file=sys.stderr)
    return 1 if below else 0
