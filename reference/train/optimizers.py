"""The optimizers of transformers: Muon for the blocks' matrices, AdamW for the rest."""

from collections.abc import Iterable

import torch
from torch import nn

from mulo_sd.reference.train.schedule import DECAY_SHARE, rate_at

REST_RATE = 2e-3


class Optimizers:
    """Muon and AdamW with one schedule.

    Args:
        matrices: Weights of two dimensions that Muon trains.
        rest: Those that AdamW trains.
        matrix_rate: Peak learning rate of the matrices.
        decay_share: Of the steps, in how many of the last the rates fall.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        rest: Iterable[nn.Parameter],
        matrix_rate: float,
        decay_share: float = DECAY_SHARE,
    ) -> None:
        self.parameters = [list(matrices), list(rest)]
        self.each: list[torch.optim.Optimizer] = [
            torch.optim.Muon(self.parameters[0], lr=matrix_rate, weight_decay=0.01, momentum=0.95),
            torch.optim.AdamW(self.parameters[1], lr=REST_RATE, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.peak_rates = (matrix_rate, REST_RATE)
        self.decay_share = decay_share

    def step(self, step: int, steps: int) -> None:
        """Take step `step` of `steps` with the gradients that are there, and clear them."""
        torch.nn.utils.clip_grad_norm_([weight for part in self.parameters for weight in part], 1.0)
        for optimizer, peak in zip(self.each, self.peak_rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * rate_at(step, steps, decay_share=self.decay_share)
            optimizer.step()
            optimizer.zero_grad()

    def state_dict(self) -> list[dict[str, object]]:
        return [optimizer.state_dict() for optimizer in self.each]

    def load_state_dict(self, states: list[dict[str, object]]) -> None:
        for optimizer, state in zip(self.each, states, strict=True):
            optimizer.load_state_dict(state)
