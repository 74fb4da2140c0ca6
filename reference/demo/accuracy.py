"""python -m reference.demo.accuracy: how often the evaluator is right, on rendered and on reconstructed scenes.

Every held-out scene is judged twice: by its own prompt, which must hold, and as a negative control by
another scene's prompt, which its plan does not show and which must therefore be refused.
"""

import sys
from collections.abc import Sequence
from functools import partial
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.prompts.grammar import Prompt
from mulo_sd.engines.prompts.plan import Plan, PlanError, check_plan
from mulo_sd.engines.prompts.vocabulary import TASKS
from mulo_sd.reference import evaluator_accuracy
from mulo_sd.reference.demo.evaluate import prompt_holds
from mulo_sd.reference.demo.scenes import Scene, held_out_scenes
from mulo_sd.reference.demo.shipped import shipped_file
from mulo_sd.reference.evaluator_accuracy import Accuracy, Evaluated, Judged
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.weights import load_tokenizer

JUDGED_SIZE = 128
BARS = {"rendered": 0.995, "reconstructed": 0.98}


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
    return evaluator_accuracy.wrong_wishes(
        scenes, lambda scene: scene.prompt, lambda prompt, scene: is_shown(prompt, scene.plan)
    )


def _verdicts(own: Prompt, other: Prompt, image: NDArray[np.uint8]) -> tuple[bool, bool]:
    return prompt_holds(own, image), prompt_holds(other, image)


def _judged(scenes: Sequence[Scene]) -> list[Judged]:
    return [
        Judged(item.prompt.task, item.render, partial(_verdicts, item.prompt, other))
        for item, other in zip(scenes, wrong_prompts(scenes), strict=True)
    ]


def measure(
    scenes: Sequence[Scene], tokenizer: ImageTokenizer
) -> tuple[dict[str, dict[str, Accuracy]], dict[int, float]]:
    """Render, reconstruct and judge scenes.

    Returns:
        The accuracy ("rendered" and "reconstructed") on each task, and the mean PSNR in dB by size.
    """
    measured = evaluator_accuracy.measure(_judged(scenes), tokenizer, (JUDGED_SIZE,))
    return measured.accuracy[JUDGED_SIZE], measured.psnr_db


DEMO = Evaluated(
    TASKS,
    lambda per_task, first: _judged(list(held_out_scenes(per_task, first))),
    lambda: load_tokenizer(shipped_file("tokenizer.safetensors")),
    (JUDGED_SIZE,),
    BARS,
)


@command
def main() -> int:
    """Measure, print, and return 1 where an accuracy stays below its bar."""
    parser = command_parser("reference.demo.accuracy", __doc__)
    evaluator_accuracy.add_arguments(parser, TASKS, 2000)
    arguments = parser.parse_args()
    evaluator_accuracy.check_arguments(parser, arguments)
    return evaluator_accuracy.run(DEMO, arguments.scenes, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
