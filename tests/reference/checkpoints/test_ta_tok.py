"""TA-Tok's decoder side gives what the published code gives, which takes its blocks from transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Siglip2VisionConfig, Siglip2VisionModel

from mulo_sd.reference.checkpoints.ta_tok import load_ta_tok, semantic_features
from mulo_sd.reference.weights import WeightsError

CODES, CODE_DIM, DIM, HEADS, LAYERS, POSITIONS = 40, 6, 16, 4, 2, 9


def published(folder: Path, unit_codes: bool | None) -> tuple[Path, dict[str, torch.Tensor], Siglip2VisionModel]:
    """Make a tiny TA-Tok as it is published, and its blocks."""
    torch.manual_seed(5)
    config = Siglip2VisionConfig(
        hidden_size=DIM,
        intermediate_size=24,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_channels=CODE_DIM,
        num_patches=POSITIONS,
        patch_size=1,
    )
    blocks = Siglip2VisionModel(config)
    blocks.requires_grad_(False)
    state = {f"decoder.{name}": value for name, value in blocks.state_dict().items()}
    if not any(name.startswith("decoder.vision_model.") for name in state):  # newer releases leave this level out
        state = {name.replace("decoder.", "decoder.vision_model.", 1): value for name, value in state.items()}
    linear = nn.Linear(DIM, DIM)
    parts = {
        "bottleneck.regularizer.embedding": nn.Embedding(CODES, CODE_DIM),
        "bottleneck.regularizer.embedding_proj": nn.Linear(CODE_DIM, CODE_DIM),
        "bottleneck.in_linear": nn.Linear(DIM, CODE_DIM),
        "bottleneck.out_linear": nn.Linear(CODE_DIM, CODE_DIM),
        "decode_task_layer.0": linear,
        "decode_task_layer.2": nn.Linear(DIM, DIM),
        "encode_task_layer.0": nn.Linear(DIM, DIM),
    }
    for prefix, part in parts.items():
        state |= {f"{prefix}.{name}": value for name, value in part.state_dict().items()}
    state |= {"scale_layer.shift": torch.zeros(1, 3, 1, 1), "encoder.embeddings.patch_embedding.bias": torch.zeros(3)}
    regularizer = {} if unit_codes is None else {"l2_normalized": unit_codes}
    arguments: dict[str, Any] = {
        "bottleneck": {"name": "bottleneck", "args": {"regularizer": {"name": "simvq", "args": regularizer}}},
        "teacher": "google/siglip2-so400m-patch14-384",
    }
    path = folder / "ta_tok.pth"
    torch.save({"model": {"name": "ta_tok", "args": arguments, "sd": state}}, path)
    return path, state, blocks


@pytest.mark.parametrize("unit_codes", [True, False, None])
@pytest.mark.parametrize("side", [2, 3, 5])
@torch.inference_mode()
def test_features(tmp_path: Path, side: int, unit_codes: bool | None) -> None:
    """The table of positions is made larger and smaller, as for 729, 169 and 81 ids.

    Codes are normalised where the arguments say so; where they leave it out, they are not, as in the published code.
    """
    path, state, blocks = published(tmp_path, unit_codes)
    ids = torch.randint(CODES, (side**2,))
    weight = state["bottleneck.regularizer.embedding_proj.weight"]
    bias = state["bottleneck.regularizer.embedding_proj.bias"]
    codes = state["bottleneck.regularizer.embedding.weight"][ids] @ weight.t() + bias
    codes = nn.functional.normalize(codes, dim=-1) if unit_codes else codes
    patches = codes @ state["bottleneck.out_linear.weight"].t() + state["bottleneck.out_linear.bias"]
    mask, shapes = torch.ones(1, side**2, dtype=torch.int), torch.tensor([[side, side]])
    hidden = blocks(patches[None], mask, shapes).last_hidden_state[0]
    first = torch.tanh(hidden @ state["decode_task_layer.0.weight"].t() + state["decode_task_layer.0.bias"])
    expected = first @ state["decode_task_layer.2.weight"].t() + state["decode_task_layer.2.bias"]
    found = semantic_features(load_ta_tok(path, side**2, HEADS), ids)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-6)


def test_wrong_files(tmp_path: Path) -> None:
    path, state, _ = published(tmp_path, True)
    arguments = {"bottleneck": {"args": {"regularizer": {"args": {"l2_normalized": "yes"}}}}}
    torch.save({"model": {"args": arguments, "sd": state}}, path)
    with pytest.raises(WeightsError, match="expected l2_normalized to be true or false, got 'yes'"):
        load_ta_tok(path, 4, HEADS)
    torch.save({"model": {"sd": state}}, path)
    assert load_ta_tok(path, 4, HEADS).config.unit_codes, "bare weights are taken for the published ones"
    with pytest.raises(WeightsError, match="square number"):
        load_ta_tok(path, 7, HEADS)
    with pytest.raises(WeightsError, match="expected 5 heads"):
        load_ta_tok(path, 4, 5)
    state.pop("decode_task_layer.0.bias")
    torch.save({"model": {"args": {}, "sd": state | {"more": torch.zeros(2)}}}, path)
    with pytest.raises(WeightsError, match=r"missing: decode_task_layer\.0\.bias; unknown: more"):
        load_ta_tok(path, 4, HEADS)
    torch.save({"model": {"encoder.conv_in.weight": torch.zeros(1)}}, path)
    with pytest.raises(WeightsError, match="expected TA-Tok with a matrix"):
        load_ta_tok(path, 4, HEADS)
