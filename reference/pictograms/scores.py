"""The scores of a model of pictograms: held-out scenes, judged by the evaluator."""

from functools import partial

from mulo_sd.reference.pictograms.evaluate import caption_holds
from mulo_sd.reference.pictograms.examples import PictogramExample, PictogramExamples
from mulo_sd.reference.pictograms.scenes import held_out_scenes
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.task_scores import Asked, drawn_scores
from mulo_sd.reference.tokenizer import ImageTokenizer
from mulo_sd.reference.transformer import Transformer

SIDES = (32, 16, 8)  # cells a side of the target's grid and its drafters'
SETTINGS = Settings(guidance_scale=1.2, top_p=0.95)


def autoregressive_scores(model: Transformer, tokenizer: ImageTokenizer, per_task: int) -> dict[str, float]:
    """Decode `per_task` held-out captions a task autoregressively, and return the scores."""
    examples = PictogramExamples()
    asked = [
        Asked(
            item.wish.task,
            PictogramExample(item, examples.captions).condition(),
            partial(caption_holds, item.wish),
        )
        for item in held_out_scenes(per_task)
    ]
    number = SIDES.index(model.config.grid_height)
    return drawn_scores(model, tokenizer, asked, examples.null_condition(), SETTINGS, number)
