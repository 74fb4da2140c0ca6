"""TA-Tok's decoder side as a graph: what Tar's language model says becomes a condition without torch."""

import torch
from torch import Tensor, nn

from mulo_sd.reference.checkpoints.ta_tok import TATokDecoder


class SemanticFeaturesGraph(nn.Module):
    """ids Int[P] -> features Float32[P, width]."""

    positions: Tensor

    def __init__(self, decoder: TATokDecoder) -> None:
        super().__init__()
        self.decoder = decoder
        with torch.inference_mode(False), torch.no_grad():
            self.register_buffer("positions", decoder.positions())

    def forward(self, ids: Tensor) -> Tensor:
        """Look ids up and run the blocks."""
        return self.decoder.features(ids, self.positions).float()
