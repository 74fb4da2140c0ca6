"""python -m reference.demo.accuracy: how often the evaluator is right, on rendered and on reconstructed scenes.

Every held-out scene is judged twice: by its own prompt, which must hold, and as a negative control by
another scene's prompt, which its plan does not show and which must therefore be refused.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import permutations

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from mulo_sd.engines.commands.command_line import command, program, purpose
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.files.whole_files import check_writable, write_text_whole
from mulo_sd.engines.prompts.grammar import Prompt
from mulo_sd.engines.prompts.plan import Plan, PlanError, check_plan
from mulo_sd.engines.prompts.vocabulary import TASKS
from mulo_sd.reference.demo.evaluate import prompt_holds
from mulo_sd.reference.demo.scenes import Scene, held_out_scenes
from mulo_sd.reference.demo.shipped import shipped_file
from mulo_sd.reference.images import images_from_pixels, pixels_from_images
from mulo_sd.reference.numbers import whole_number
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.weights import WeightsError, load_tokenizer

FIRST_SCENE = 10_000  # the scores on the model cards use the first ones
MAX_SCENES = 1_000_000
SIZES = (32, 64, 128)
JUDGED_SIZE = 128
BATCH = 8
BARS = {"rendered": 0.995, "reconstructed": 0.98}


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


def is_shown(prompt: Prompt, plan: Plan) -> bool:
    """Return whether a plan's objects, in whatever order, are what a prompt asks for."""
    for objects in permutations(plan.objects):
        try:
            check_plan(Plan(objects=objects), prompt)
        except PlanError:
            continue
        return True
    return False


def wrong_prompts(scenes: Sequence[Scene]) -> list[Prompt]:
    """Return for each scene the prompt of the next one, cyclically, whose prompt its plan does not show.

    Raises:
        ValueError: a scene shows what every prompt asks for.
    """
    prompts = []
    for index, item in enumerate(scenes):
        others = (other.prompt for other in (*scenes[index + 1 :], *scenes[:index]))
        wrong = next((prompt for prompt in others if not is_shown(prompt, item.plan)), None)
        if wrong is None:
            raise ValueError(f"scenes: expected one whose prompt scene {index} does not show, got none; take more")
        prompts.append(wrong)
    return prompts


def accuracy_per_task(verdicts: Sequence[Verdict]) -> dict[str, Accuracy]:
    """Return the accuracy on each task that occurs, and overall."""
    groups = {task: [item for item in verdicts if item.task == task] for task in TASKS} | {"overall": list(verdicts)}
    return {
        name: Accuracy(
            own_accepted=float(np.mean([item.own_accepted for item in group])),
            other_accepted=float(np.mean([item.other_accepted for item in group])),
            accuracy=float(np.mean([item.own_accepted and not item.other_accepted for item in group])),
        )
        for name, group in groups.items()
        if group
    }


@torch.inference_mode()
def measure(
    scenes: Sequence[Scene], tokenizer: ImageTokenizer
) -> tuple[dict[str, dict[str, Accuracy]], dict[int, float]]:
    """Render, reconstruct and judge scenes.

    Returns:
        The accuracy ("rendered" and "reconstructed") on each task, and the mean PSNR in dB at each of SIZES.
    """
    others = wrong_prompts(scenes)
    verdicts: dict[str, list[Verdict]] = {"rendered": [], "reconstructed": []}
    psnr_db: dict[int, float] = {}
    for size in SIZES:
        noises: list[float] = []
        for first in track(range(0, len(scenes), BATCH), description=f"{size} px"):
            part, wrong = scenes[first : first + BATCH], others[first : first + BATCH]
            pixels = np.stack([item.render(size) for item in part])
            images = images_from_pixels(torch.from_numpy(pixels))
            decoded = tokenizer.images_from_tokens(tokenizer.tokens_from_images(images))
            noises += (10 * torch.log10(4 / (decoded - images).square().mean(dim=(1, 2, 3)))).tolist()
            if size == JUDGED_SIZE:
                shown = {"rendered": pixels, "reconstructed": pixels_from_images(decoded).numpy()}
                for name, judged in shown.items():
                    verdicts[name] += [
                        Verdict(item.prompt.task, prompt_holds(item.prompt, image), prompt_holds(other, image))
                        for item, other, image in zip(part, wrong, judged, strict=True)
                    ]
        psnr_db[size] = float(np.mean(noises))
    return {name: accuracy_per_task(group) for name, group in verdicts.items()}, psnr_db


def _table(title: str, scores: dict[str, Accuracy]) -> Table:
    table = Table(title=title)
    table.add_column("task")
    for column in ("accuracy", "own prompt accepted", "other's prompt accepted"):
        table.add_column(column, justify="right")
    for task, item in scores.items():
        shares = (item.accuracy, item.own_accepted, item.other_accepted)
        table.add_row(task, *(f"{share:.2%}" for share in shares), end_section=task == TASKS[-1])
    return table


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program("reference.demo.accuracy"), description=purpose(__doc__))
    parser.add_argument(
        "--scenes", type=int, default=2000, help=f"rounded up to a multiple of {len(TASKS)}, one part a task"
    )
    parser.add_argument("--json", type=user_path, help="write the figures into this file too")
    arguments = parser.parse_args()
    try:
        whole_number("--scenes", arguments.scenes, 1, MAX_SCENES)
    except ValueError as error:
        parser.error(str(error))
    if arguments.json:
        try:
            check_writable(arguments.json)
        except OSError as error:
            parser.error(f"--json: {arguments.json}: cannot write it: {error.strerror or error}")
    return arguments


@command
def main() -> int:
    """Measure, print, and return 1 where an accuracy stays below its bar."""
    arguments = _arguments()
    try:
        tokenizer = load_tokenizer(shipped_file("tokenizer.safetensors"))
    except WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    scenes = list(held_out_scenes(-(-arguments.scenes // len(TASKS)), FIRST_SCENE))
    accuracy, psnr_db = measure(scenes, tokenizer)
    console = Console()
    for name, scores in accuracy.items():
        console.print(_table(f"{len(scenes)} held-out scenes, {name} at {JUDGED_SIZE} px", scores))
    console.print("mean PSNR: " + ", ".join(f"{value:.2f} dB at {size} px" for size, value in psnr_db.items()))
    if arguments.json:
        figures = {
            "scenes": len(scenes),
            "accuracy": {
                name: {task: asdict(item) for task, item in scores.items()} for name, scores in accuracy.items()
            },
            "psnr_db": {f"{size}px": value for size, value in psnr_db.items()},
        }
        write_text_whole(arguments.json, json.dumps(figures, indent=2) + "\n")
    below = {name: bar for name, bar in BARS.items() if accuracy[name]["overall"].accuracy < bar}
    for name, bar in below.items():
        print(f"{name}: expected an accuracy of at least {bar:.1%}", file=sys.stderr)
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main())
