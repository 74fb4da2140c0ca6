"""Every graph of a bundle, from the models that it holds."""

import torch

from mulo_sd.export.graphs.sampling import acceptance_graph, sampler_graph
from mulo_sd.export.graphs.scaling import decoder_graph, scaler_graphs
from mulo_sd.export.graphs.semantic import semantic_features_graph
from mulo_sd.export.graphs.specification import GraphSpecification
from mulo_sd.export.graphs.transformer import prefix_graph, transformer_graph
from mulo_sd.reference.checkpoints.ta_tok import TATokDecoder
from mulo_sd.reference.models import Models


def specifications(
    models: Models,
    dtype: torch.dtype,
    fields: int,
    all_filters: bool = False,
    ta_tok: TATokDecoder | None = None,
) -> list[GraphSpecification]:
    """Return the graphs of a bundle, each transformer's own before the one of its condition.

    Args:
        models: In float32, on the CPU.
        dtype: The bundle's precision; sampling and acceptance are float32 in every bundle.
        fields: Ids a prefix token, of models that take fields.
        all_filters: Scalers of every resize filter, and not of the default ones alone.
        ta_tok: What makes features of Tar's semantic ids.
    """
    transformers: list[GraphSpecification] = []
    for number in range(1 + len(models.drafters)):
        transformers += [transformer_graph(models, number, dtype), prefix_graph(models, number, fields)]
    semantic = [] if ta_tok is None else [semantic_features_graph(ta_tok)]
    sampling = [sampler_graph(models), acceptance_graph(models)]
    return [*transformers, *semantic, *scaler_graphs(models, all_filters), decoder_graph(models), *sampling]
