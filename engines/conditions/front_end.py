"""What turns a prompt into a condition; which one a bundle takes follows from its models."""

from typing import NamedTuple, Protocol

from mulo_sd.engines.condition import Condition
from mulo_sd.engines.prompts import Plan


class Described(NamedTuple):
    """A prompt in numbers.

    Attributes:
        condition: What the models are given.
        plan: Where the demo's objects are; None for other models.
    """

    condition: Condition
    plan: Plan | None = None


class FrontEnd(Protocol):
    """Turns prompts into conditions."""

    def check(self, prompt: str) -> None:
        """Check a prompt as far as that is cheap: what a run over thousands finds out before it draws the first.

        Raises:
            PromptError: the prompt is not understood.
            ConditionError: no prompt at all can be described, such as without a text model.
        """
        ...

    def describe(self, prompt: str, seed: int, plan: Plan | None) -> Described:
        """Describe a prompt.

        Args:
            prompt: What to draw.
            seed: 0..2^64 - 1, of whatever is left open.
            plan: Where the demo's objects go.

        Raises:
            PromptError: the prompt is not understood.
            PlanError: the plan does not fit the prompt, or these models take none.
        """
        ...
