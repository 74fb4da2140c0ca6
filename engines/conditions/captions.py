"""LlamaGen's text models: a prompt is a caption, which T5's encoder turns into features."""

from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.condition import Condition, ConditionError
from mulo_sd.engines.conditions.front_end import Described
from mulo_sd.engines.conditions.text_models import CaptionEncoder, checked_caption
from mulo_sd.engines.prompts import Plan, PlanError


class CaptionFrontEnd:
    """Makes conditions from captions."""

    example_prompts: tuple[str, ...] = ("a red fox in the snow",)

    def __init__(self, bundle: Bundle, text_model: str | None) -> None:
        self.entry = bundle.manifest.target
        self.encoder = CaptionEncoder(text_model) if text_model else None

    def check(self, prompt: str) -> None:
        """Clean a caption and check that words are left."""
        self._encoder()
        checked_caption(prompt)

    def _encoder(self) -> CaptionEncoder:
        if self.encoder is None:
            raise ConditionError(
                "prompt: expected a text model for this bundle's captions, got none; give the folder or name of "
                "flan-t5-xl with --text-model, or features with --condition"
            )
        return self.encoder

    def describe(self, prompt: str, seed: int, plan: Plan | None) -> Described:
        """Encode a caption; a plan is an error, and the seed is not used."""
        if plan is not None:
            raise PlanError("plan: expected none for models that take captions, got one; leave it out")
        features, shown = self._encoder().features(prompt, self.entry.prefix_length)
        return Described(Condition(features, shown=shown))
