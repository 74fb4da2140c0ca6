"""Captions padded on either side give what the published code's masks give, computed here over whole sequences."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mulo_sd.reference.checkpoints.llamagen import load_llamagen
from mulo_sd.reference.decode import decode
from mulo_sd.reference.models import Condition, Models
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.tokenizer import Tokenizer, TokenizerConfig
from mulo_sd.reference.transformer import Transformer
from tests.reference.checkpoints import published
from tests.reference.checkpoints.published import MakeWeights

SIDE, HEADS = 8, 4
# Which of the fixture's 120 prefix tokens exist: as captions are padded, with a hole, and with nothing but the first.
MASKS = {
    "left": lambda count: [False] * (120 - count) + [True] * count,
    "right": lambda count: [True] * count + [False] * (120 - count),
    "a hole and the last": lambda count: [True] * 5 + [False] * 70 + [True] * 44 + [False],
    "the first alone": lambda count: [True] + [False] * 119,
}


@pytest.fixture(scope="module")
def model(make_weights: MakeWeights, tmp_path_factory: pytest.TempPathFactory) -> Transformer:
    tensors = published.weights("llamagen_t2i_tiny", make_weights)
    return load_llamagen(published.save(tensors, tmp_path_factory.mktemp("t2i") / "t2i.pt"), SIDE, HEADS)


def masked_logits(model: Transformer, prefix: Tensor, tokens: Tensor, shown: Tensor) -> Tensor:
    """Return the logits of tokens 0..n, Float[n + 1, V], by the published rule over the whole sequence at once.

    The causal mask is multiplied by the prefix's marks, column by column; then its diagonal is set, so that a hidden
    token sees at least itself.
    """
    length = len(prefix) + len(tokens)
    columns = torch.cat([shown, torch.ones(len(tokens), dtype=torch.bool)])
    visible = torch.ones(length, length, dtype=torch.bool).tril() & columns | torch.eye(length, dtype=torch.bool)
    embeddings = torch.cat([model.prefix_embeddings(prefix[None]), model.token_embeddings(tokens[None])], dim=1)

    def attend(layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=visible)

    logits: Tensor = model(embeddings, torch.arange(length)[None], attend=attend)
    return logits[0, len(prefix) - 1 :]


@pytest.mark.parametrize("guidance_scale", [1.0, 7.5])
@pytest.mark.parametrize("mask", MASKS)
@torch.inference_mode()
def test_greedy_sequences_follow_the_published_mask(model: Transformer, mask: str, guidance_scale: float) -> None:
    """Each token of MODE-AR is the largest logit of a whole recomputation; logits agree in every pass."""
    answers = published.answers("llamagen_t2i_tiny")
    count = int(answers["cond_mask"][1].sum())
    shown = torch.tensor(MASKS[mask](count))
    cond = torch.where(shown[:, None], answers["cond"][1].roll(count, 0) + 0.1, 0.0)  # hidden features are zeros
    condition = Condition(cond, shown=shown)
    tokenizer = Tokenizer(TokenizerConfig(codes=model.config.vocabulary, code_dim=4, width=8))
    settings: dict[str, Any] = {"mode": "ar", "guidance_scale": guidance_scale, "temperature": 0.0}
    decoded = decode(Models(model, (), tokenizer), condition, Settings(**settings), seed=0, record_logits=True)
    tokens, null = decoded.tokens.flatten(), model.null_condition()
    assert null is not None
    halves = [masked_logits(model, prefix, tokens[:-1], shown) for prefix in (cond, null)]
    for row in range(1 if guidance_scale == 1 else 2):
        found = torch.stack([item.logits[row, -1] for item in decoded.trace.passes if item.logits is not None])
        torch.testing.assert_close(found, halves[row], rtol=0, atol=2e-5)
    guided = halves[1] + guidance_scale * (halves[0] - halves[1])
    largest, second = guided.topk(2).values.unbind(-1)
    assert float((largest - second).min()) > 1e-4, "a near-tie says nothing"
    assert tokens.tolist() == guided.argmax(-1).tolist()


@torch.inference_mode()
def test_a_hidden_last_token_is_no_shown_one(model: Transformer) -> None:
    """Feeding it as a token that later ones see would give other logits, and so would leaving it out."""
    answers = published.answers("llamagen_t2i_tiny")
    cond, tokens = answers["cond"][1], answers["tokens"][1, :3]
    hidden = torch.ones(120, dtype=torch.bool)
    hidden[-1] = False
    right = masked_logits(model, cond, tokens, hidden)
    seen = masked_logits(model, cond, tokens, torch.ones(120, dtype=torch.bool))
    without = masked_logits(model, cond[:-1], tokens, torch.ones(119, dtype=torch.bool))
    assert float((right[1:] - seen[1:]).abs().max()) > 1e-3
    assert float((right[0] - without[0]).abs().max()) > 1e-3
