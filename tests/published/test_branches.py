"""The graphs with branches of published families: captions padded on the left, classes, learned positions."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from mulo_sd.engines.bundle.contract import HEAD, TARGET_BRANCHED
from mulo_sd.export.build_bundle import neighbour_table
from mulo_sd.export.build_graph import cast_copy
from mulo_sd.export.compare import Comparison, check_error
from mulo_sd.export.graphs.listing import specifications
from mulo_sd.export.published import published_evidence
from mulo_sd.reference.head import Head, HeadConfig
from mulo_sd.reference.random_weights import fill


@pytest.mark.parametrize("name", ["t2i", "c2i", "tar"])
def test_graphs_answer_as_the_reference(tiny: Callable[..., Any], name: str) -> None:
    """In float32 and in half precision, with a head and without: the target's own tokens, trees and rows."""
    models = tiny(name).models
    head = None
    if name != "tar":  # a head sees the tokens by rotary positions
        head = Head(HeadConfig.of(models.target.config)).eval()
        with torch.no_grad():
            fill(head, torch.Generator().manual_seed(1), 1.0)
            head.output.weight.copy_(models.target.output.weight)  # as of a real head
            head.fc.weight.mul_(0.3)
    evidence = published_evidence(replace(models, head=head), neighbour_table(models))
    compared = set()
    for precision, dtype in (("fp32", torch.float32), ("fp16", torch.float16)):
        for item in specifications(evidence.models, dtype, 1, branched=True):
            if item.name in (TARGET_BRANCHED, HEAD):
                cast = replace(item, module=cast_copy(item.module, dtype))
                error = Comparison(cast, evidence, precision).own_error()  # type: ignore[arg-type]  # one of three
                check_error(cast, error, precision, "llamagen")  # type: ignore[arg-type]  # as above
                compared.add((item.name, precision))
    assert len(compared) == (2 if head is None else 4)
