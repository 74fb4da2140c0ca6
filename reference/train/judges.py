"""How well a transformer in training does on held-out examples."""

from typing import Any

import torch

from mulo_sd.reference.train.autoregressive import AutoregressiveTrainee

JUDGED = 64  # examples


class HeldOutJudge:
    """The loss of a drafter or target on held-out examples, the same number in every worker."""

    def __init__(self, trainee: AutoregressiveTrainee, count: int = JUDGED) -> None:
        self.trainee, self.count = trainee, count

    def loss(self) -> float:
        """Return the mean loss in nats a token, as the leading worker computes it."""
        return self.trainee.workers.agreed(self.trainee.held_out_loss(self.count))

    def weights(self) -> dict[str, Any]:
        """Return a copy of the weights, on the CPU."""
        state = self.trainee.model.state_dict()
        return {name: value.detach().to("cpu", copy=True) for name, value in state.items()}

    def load_weights(self, weights: dict[str, Any]) -> None:
        """Put weights into the model."""
        with torch.no_grad():
            self.trainee.model.load_state_dict(weights)
