"""TA-Tok's decoder side as a graph: semantic ids of Tar's language model become a condition without torch."""

import torch
from torch import Tensor, nn

from mulo_sd.engines.bundle.contract import SEMANTIC_FEATURES
from mulo_sd.export.graphs.specification import GraphSpecification
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


def semantic_features_graph(decoder: TATokDecoder) -> GraphSpecification:
    """Return the graph that makes features of semantic ids."""
    return GraphSpecification(
        name=SEMANTIC_FEATURES,
        module=SemanticFeaturesGraph(decoder),
        example={"ids": torch.zeros(decoder.count, dtype=torch.long)},
        dynamic={},
        input_names=("ids",),
        output_names=("features",),
        ranges={},
        kind="features",
        compared="features",
        weights="ta_tok",
    )
