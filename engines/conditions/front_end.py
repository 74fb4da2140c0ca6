"""The interface of a front end, which makes a condition from a prompt."""

from typing import NamedTuple, Protocol

from mulo_sd.engines.condition import Condition
from mulo_sd.engines.prompts import Plan


class Described(NamedTuple):
    """The condition that was made from a prompt, and the scene plan that it contains.

    Attributes:
        condition: For the models.
        plan: Of the demo's models; None for others.
        note: What became of the prompt that its writer may not expect, one line for people.
    """

    condition: Condition
    plan: Plan | None = None
    note: str | None = None


class FrontEnd(Protocol):
    """Makes conditions from prompts.

    Attributes:
        example_prompts: Some that it understands.
    """

    example_prompts: tuple[str, ...]

    def check(self, prompt: str) -> None:
        """Check a prompt cheaply, so that a run over thousands of prompts finds errors before it draws the first.

        Raises:
            PromptError: the prompt is not understood.
            ConditionError: no prompt at all can be used, because a text model is missing, say.
        """
        ...

    def describe(self, prompt: str, seed: int, plan: Plan | None) -> Described:
        """Make the condition of a prompt.

        Args:
            prompt: The text to draw.
            seed: 0..2^64 - 1, decides what the prompt leaves open.
            plan: Places the objects, in the demo's models alone; None lets the seed decide.

        Raises:
            PromptError: the prompt is not understood.
            PlanError: the plan does not fit the prompt, or these models take none.
        """
        ...
