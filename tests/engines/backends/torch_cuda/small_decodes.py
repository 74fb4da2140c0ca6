"""Every family's models of a few cells, on the backend in torch and on the modules of its graphs."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mulo_sd import engines
from mulo_sd.engines.backends.torch_cuda.backend import TorchBackend
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.loop.decode import Decoder
from mulo_sd.engines.rules.slots import DEAD_RANK
from mulo_sd.reference.models import Condition, Models
from mulo_sd.reference.random_weights import fill
from mulo_sd.reference.tokenizer import Tokenizer, TokenizerConfig
from mulo_sd.reference.transformer import Transformer, TransformerConfig
from tests.fakes.torch_backend import TorchBackend as PlainBackend

CODES, FIELDS = 32, 3
FAMILIES: dict[str, dict[str, Any]] = {
    "demo": {"condition": "fields", "prefix_length": 2, "prefix_vocabulary": 7},
    "llamagen": {
        "condition": "caption",
        "condition_width": 6,
        "prefix_length": 5,
        "prefix_vocabulary": 1,
        "absolute": False,
        "zero_prefix_rotation": True,
    },
    "tar": {
        "condition": "features",
        "condition_width": 6,
        "prefix_length": 4,
        "prefix_vocabulary": 1,
        "rotary": False,
    },
}
SETTINGS: dict[str, dict[str, Any]] = {
    "ar": {"mode": "ar", "guidance_scale": 3.0, "top_k": 5},
    "zipar": {"mode": "zipar", "window": 2, "top_p": 0.9},
    "serial": {"mode": "serial", "neighbours": 4, "draft_rows": 1, "tau": 0.1},
    "parallel": {"mode": "parallel", "neighbours": 4, "tau": 0.2, "anchor": 2.0, "temperature": 0.8, "top_k": 9},
    "exact": {"mode": "exact", "neighbours": 4, "temperature": 0.7, "down_sampler": "bicubic"},
    "unguided": {"mode": "parallel", "neighbours": 4, "guidance_scale": 1.0, "adaptive_window": True},
    "greedy": {"mode": "parallel", "neighbours": 4, "temperature": 0.0, "radius_nats": 0.7},
}


class Small(NamedTuple):
    """A family's models of a few cells, and both backends."""

    models: Models
    condition: Condition
    bundle: Bundle
    plain: PlainBackend
    ours: TorchBackend


def small_models(family: str) -> Models:
    with torch.random.fork_rng(devices=[]):  # a new module draws weights, which `fill` overwrites
        transformers = [
            Transformer(TransformerConfig(side, side, CODES, layers=2, heads=2, dim=24, **FAMILIES[family]))
            for side in (4, 2)
        ]
        tokenizer = Tokenizer(TokenizerConfig(CODES, 4, 8, 1, 1, 2))
    generator = torch.Generator().manual_seed(7)
    for module in (*transformers, tokenizer):
        fill(module, generator, 2.0)
    return Models(transformers[0], (transformers[1],), tokenizer)


def decoded(small: Small, backend: Any, chosen: dict[str, Any], seed: int = 5) -> Any:
    shown = None if small.condition.shown is None else small.condition.shown.numpy()
    uncond = None if small.condition.uncond is None else small.condition.uncond.numpy()
    condition = engines.Condition(small.condition.cond.numpy(), uncond, shown)
    settings = engines.Settings().changed(**chosen)
    return Decoder(small.bundle, backend, condition, settings, seed).decode()


def set_padding(backend: TorchBackend, pads: bool) -> None:
    for runner in backend.runners.values():
        runner.pads = pads


def pass_inputs(model: Transformer, slots: int, row: int, length: int, start: int) -> dict[str, NDArray[Any]]:
    """Return one row of a pass that writes from slot `start` on; some slots before are dead."""
    config, generator = model.config, np.random.default_rng(100 + row)
    ranks = np.full((1, slots), DEAD_RANK)
    ranks[0, :start] = np.where(generator.random(start) < 0.7, generator.integers(0, 5, start), DEAD_RANK)
    positions = 6 + row + np.arange(length)
    ranks[0, start : start + length] = positions
    return {
        "tokens": generator.integers(0, config.vocabulary, (1, length)),
        "prefix": np.zeros((1, length, config.dim), dtype=np.float32),
        "positions": positions[None],
        "slot_ranks": ranks,
        "write_index": np.array([start]),
    }
