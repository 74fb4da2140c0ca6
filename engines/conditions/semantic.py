"""Tar's models: a language model answers a prompt with semantic ids, which TA-Tok turns into features."""

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.answers import run
from mulo_sd.engines.backends.base import Backend
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.bundle.contract import SEMANTIC_FEATURES
from mulo_sd.engines.condition import Condition, ConditionError
from mulo_sd.engines.conditions.front_end import Described
from mulo_sd.engines.conditions.text_models import SemanticLanguageModel
from mulo_sd.engines.prompts import Plan, PlanError
from mulo_sd.engines.text import MAX_CAPTION_CHARACTERS, check_text


class SemanticFrontEnd:
    """Makes conditions with Tar's language model."""

    example_prompts: tuple[str, ...] = ("a red fox in the snow",)

    def __init__(self, bundle: Bundle, backend: Backend, text_model: str | None) -> None:
        self.bundle, self.backend = bundle, backend
        self.language_model = SemanticLanguageModel(text_model) if text_model else None

    def check(self, prompt: str) -> None:
        """Check that there is a language model, and that the prompt is a text."""
        self._language_model()
        check_text(prompt, max_characters=MAX_CAPTION_CHARACTERS)

    def _language_model(self) -> SemanticLanguageModel:
        if self.language_model is None:
            raise ConditionError(
                "prompt: expected a text model for this bundle's prompts, got none; give the folder or name of Tar's "
                "language model with --text-model, or ids or features with --condition"
            )
        return self.language_model

    def describe(self, prompt: str, seed: int, plan: Plan | None) -> Described:
        """Ask the language model for semantic ids, which the seed decides; a plan is an error."""
        if plan is not None:
            raise PlanError("plan: expected none for Tar, which plans an image itself, got one; leave it out")
        count = self.bundle.manifest.target.prefix_length
        return Described(self.from_ids(self._language_model().ids(prompt, count, seed)))

    def from_ids(self, ids: NDArray[np.int64]) -> Condition:
        """Make a condition from semantic ids, Int64[P].

        Raises:
            ConditionError: the bundle was built without TA-Tok, or the ids are out of its range.
        """
        manifest = self.bundle.manifest
        if SEMANTIC_FEATURES not in manifest.graphs:
            raise ConditionError(
                "ids: expected a bundle with TA-Tok, got one without; build it again with --ta-tok, or give features"
            )
        expected = (manifest.target.prefix_length,)
        if ids.shape != expected or ids.dtype != np.int64 or ids.min() < 0 or ids.max() >= manifest.semantic_ids:
            raise ConditionError(
                f"ids: expected int64 {expected} in 0..{manifest.semantic_ids - 1}, got {ids.dtype} {ids.shape}"
            )
        shape = (manifest.target.prefix_length, manifest.target.condition_width)
        return Condition(run(self.backend, SEMANTIC_FEATURES, {"ids": ids}, features=(np.float32, shape))[0])
