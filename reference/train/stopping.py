"""When a run ends: early, where the loss on held-out examples no longer falls."""

import math
from dataclasses import dataclass, field
from typing import Any

from mulo_sd.reference.train.schedule import DECAY_SHARE


@dataclass
class Stopping:
    """Follows the held-out loss of a run.

    A run that has not improved for `patience` judgements begins the decay of its learning rate there and then, which
    brings most models a good deal further; if nothing improves for as long again, it ends.

    Attributes:
        steps: That were asked for.
        patience: Judgements without a lower loss; 0 never stops early.
        decay_share: Of the steps, in how many of the last the rate falls.
        end: The step at which the run ends as things stand.
        best: The lowest loss so far, in nats a token.
        since: Judgements since then.
    """

    steps: int
    patience: int = 0
    decay_share: float = DECAY_SHARE
    end: int = field(init=False)
    best: float = math.inf
    since: int = 0

    def __post_init__(self) -> None:
        self.end = self.steps

    def judged(self, step: int, loss: float) -> bool:
        """Take the loss after `step` steps; return whether it is the lowest so far."""
        if loss < self.best:
            self.best, self.since = loss, 0
            return True
        self.since += 1
        if self.patience and self.since >= self.patience:
            self.since = 0
            full = 1 - self.decay_share  # of the steps: at the full rate
            if step > self.end * full:
                self.end = step
            else:
                self.end = min(self.end, max(step + 1, math.ceil(step / full)))
        return False

    def state_dict(self) -> dict[str, Any]:
        return {"end": self.end, "best": self.best, "since": self.since}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.end, self.best, self.since = int(state["end"]), float(state["best"]), int(state["since"])
