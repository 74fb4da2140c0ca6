"""Prompts of LlamaGen's text models: a caption, through T5's encoder."""

from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.condition import Condition, ConditionError
from mulo_sd.engines.conditions.front_end import Described
from mulo_sd.engines.conditions.text_models import CaptionEncoder, checked_caption
from mulo_sd.engines.prompts import Plan, PlanError


class CaptionFrontEnd:
    """Encodes captions."""

    def __init__(self, bundle: Bundle, text_model: str | None) -> None:
        self.entry = bundle.manifest.target
        self.encoder = CaptionEncoder(text_model) if text_model else None

    def check(self, prompt: str) -> None:
        """Clean a caption and see whether something is left."""
        self._encoder()
        checked_caption(prompt)

    def _encoder(self) -> CaptionEncoder:
        if self.encoder is None:
            raise ConditionError(
                "prompt: this bundle takes what flan-t5-xl makes of a caption; give its folder or name with "
                "--text-model, or features with --condition"
            )
        return self.encoder

    def describe(self, prompt: str, seed: int, plan: Plan | None) -> Described:
        """Encode a caption; no plan is known here, and the seed has no part in it."""
        if plan is not None:
            raise PlanError("plan: expected none, since these models take captions alone")
        features, shown = self._encoder().features(prompt, self.entry.prefix_length)
        return Described(Condition(features, shown=shown))
