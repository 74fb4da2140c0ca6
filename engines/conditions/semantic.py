"""Prompts of Tar: its language model answers with semantic ids, of which TA-Tok makes features."""

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.backends.answers import run
from mulo_sd.engines.backends.base import Backend
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.bundle.contract import SEMANTIC_FEATURES
from mulo_sd.engines.condition import Condition, ConditionError
from mulo_sd.engines.conditions.front_end import Described
from mulo_sd.engines.conditions.text_models import MAX_CAPTION_CHARACTERS, SemanticLanguageModel
from mulo_sd.engines.prompts import Plan, PlanError
from mulo_sd.engines.text import check_text


class SemanticFrontEnd:
    """Asks Tar's language model."""

    def __init__(self, bundle: Bundle, backend: Backend, text_model: str | None) -> None:
        self.bundle, self.backend = bundle, backend
        self.language_model = SemanticLanguageModel(text_model) if text_model else None

    def check(self, prompt: str) -> None:
        """See whether there is a text, and somebody to ask."""
        self._language_model()
        check_text(prompt, most=MAX_CAPTION_CHARACTERS)

    def _language_model(self) -> SemanticLanguageModel:
        if self.language_model is None:
            raise ConditionError(
                "prompt: this bundle takes what Tar's language model answers; give its folder or name with "
                "--text-model, or ids or features with --condition"
            )
        return self.language_model

    def describe(self, prompt: str, seed: int, plan: Plan | None) -> Described:
        """Ask for semantic ids, which the seed decides; no plan is known here."""
        if plan is not None:
            raise PlanError("plan: expected none, since Tar plans an image itself")
        count = self.bundle.manifest.target.prefix_length
        return Described(self.from_ids(self._language_model().ids(prompt, count, seed)))

    def from_ids(self, ids: NDArray[np.int64]) -> Condition:
        """Return the condition that semantic ids, Int64[P], are.

        Raises:
            ConditionError: the bundle was built without TA-Tok, or the ids are out of its range.
        """
        manifest = self.bundle.manifest
        if SEMANTIC_FEATURES not in manifest.graphs:
            raise ConditionError("ids: the bundle holds no TA-Tok; build it again with --ta-tok, or give features")
        expected = (manifest.target.prefix_length,)
        if ids.shape != expected or ids.dtype != np.int64 or ids.min() < 0 or ids.max() >= manifest.semantic_ids:
            raise ConditionError(
                f"ids: expected int64 {expected} in 0..{manifest.semantic_ids - 1}, got {ids.dtype} {ids.shape}"
            )
        shape = (manifest.target.prefix_length, manifest.target.condition_width)
        return Condition(run(self.backend, SEMANTIC_FEATURES, {"ids": ids}, features=(np.float32, shape))[0])
