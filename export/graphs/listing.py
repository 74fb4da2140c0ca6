"""Every graph of a bundle, from the models that it holds."""

import torch

from mulo_sd.engines.bundle.contract import BLOCK, model_names
from mulo_sd.export.graphs.branched import branched_graph, head_graph
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
    branched: bool = False,
) -> list[GraphSpecification]:
    """Return the graphs of a bundle, each transformer's own before the one of its condition.

    Args:
        models: In float32, on the CPU.
        dtype: The bundle's precision; sampling and acceptance are float32 in every bundle.
        fields: Ids a prefix token, of models that take fields.
        all_filters: Scalers of every resize filter, and not of the default ones alone.
        ta_tok: What makes features of Tar's semantic ids.
        branched: The target once more, with branches and hidden states; a head needs it, whatever is said here.
    """
    transformers: list[GraphSpecification] = []
    for number, name in enumerate(model_names(len(models.drafters))):
        model = models.transformer(number)
        transformers.append(transformer_graph(name, model, dtype, number))
        if number == 0 and (branched or models.head is not None):
            transformers.append(branched_graph(model, name, dtype))
        if number == 0 and models.head is not None:
            transformers.append(head_graph(models.head, name, dtype))
        transformers.append(prefix_graph(name, model, fields, number))
    if models.block is not None:
        transformers += [transformer_graph(BLOCK, models.block, dtype), prefix_graph(BLOCK, models.block, fields)]
    semantic = [] if ta_tok is None else [semantic_features_graph(ta_tok)]
    sampling = [sampler_graph(models), acceptance_graph(models)]
    return [*transformers, *semantic, *scaler_graphs(models, all_filters), decoder_graph(models), *sampling]
