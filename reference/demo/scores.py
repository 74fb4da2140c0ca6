"""The scores of a model of the demo: held-out scenes, judged by the evaluator."""

from functools import partial

from mulo_sd.engines.prompts.prefix import null_prefix, prefix_from_plan
from mulo_sd.reference.demo.evaluate import prompt_holds
from mulo_sd.reference.demo.models import RECOMMENDED
from mulo_sd.reference.demo.scenes import held_out_scenes
from mulo_sd.reference.task_scores import Asked, drawn_scores
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.transformer import Transformer

SIDES = (32, 16, 8)  # cells a side of the target's grid and its drafters'


def autoregressive_scores(model: Transformer, tokenizer: ImageTokenizer, per_task: int) -> dict[str, float]:
    """Decode `per_task` held-out prompts a task autoregressively, as recommended, and return the scores."""
    asked = [
        Asked(item.prompt.task, prefix_from_plan(item.prompt, item.plan), partial(prompt_holds, item.prompt))
        for item in held_out_scenes(per_task)
    ]
    number = SIDES.index(model.config.grid_height)
    return drawn_scores(model, tokenizer, asked, null_prefix(), RECOMMENDED, number)
