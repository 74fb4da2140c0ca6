"""Heads whose width is no multiple of 8 (LlamaGen 3B: 100 channels) are exported, padded in the cache alone."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mulo_sd.export.build_graph import cast_copy, has_attention_kernel, save_onnx
from mulo_sd.export.compare import measure_error
from mulo_sd.export.evidence import Evidence
from mulo_sd.export.graphs.listing import specifications
from mulo_sd.export.graphs.specification import GraphSpecification
from mulo_sd.export.manifest import tensor_entries
from mulo_sd.export.onnx_from_torch import onnx_from_torch
from mulo_sd.export.plans import build_plan, is_installed
from mulo_sd.export.published import RealPasses
from mulo_sd.reference.models import Condition, Models
from mulo_sd.reference.random_weights import fill
from mulo_sd.reference.tokenizer import Tokenizer, TokenizerConfig
from mulo_sd.reference.transformer import Transformer, TransformerConfig

HEADS, HEAD_DIM = 2, 100


@pytest.fixture(scope="module")
def models() -> Models:
    """A layer of the 3B model's heads."""
    config = TransformerConfig(
        4,
        4,
        vocabulary=32,
        layers=1,
        heads=HEADS,
        dim=HEADS * HEAD_DIM,
        prefix_length=1,
        prefix_vocabulary=5,
        condition="class",
        zero_prefix_rotation=True,
        absolute=False,
    )
    target, tokenizer = Transformer(config), Tokenizer(TokenizerConfig(codes=32, code_dim=4, width=8, factor=2))
    for module in (target, tokenizer):
        fill(module, torch.Generator().manual_seed(4), 2.0)
    return Models(target, (), tokenizer)


def graph(models: Models, dtype: torch.dtype) -> GraphSpecification:
    return next(item for item in specifications(models, dtype, 1) if item.name == "target")


def test_the_graph_is_the_reference(models: Models) -> None:
    item = graph(models, torch.float32)
    assert item.example["caches"][0].shape[-1] == 104
    evidence = Evidence(
        models, Condition(torch.tensor([[2]])), RealPasses(models, Condition(torch.tensor([[2]]))), (), torch.zeros(1)
    )
    assert measure_error(item.run, item, evidence) < 1e-5


@pytest.mark.skipif(not is_installed("trt-rtx"), reason="tensorrt-rtx is published for two platforms only")
def test_a_plan_is_built(models: Models, tmp_path: Path) -> None:
    item = graph(models, torch.float16)
    item = replace(item, module=cast_copy(item.module, torch.float16))
    model = onnx_from_torch(item)
    inputs = tensor_entries(save_onnx(model, tmp_path / "target.onnx").input)
    assert has_attention_kernel(item)
    shapes = {entry.name: entry.shape for entry in inputs}
    assert build_plan("trt-rtx", tmp_path / "target.onnx", shapes, (item.ranges,), False).content
