"""What the decisions on a replayed pass are made of, beside its logits: entropies and the anchor's bonus."""

import numpy as np
import torch
from numpy.typing import NDArray

from mulo_sd.conformance.engines.drafts import resampling_cycle
from mulo_sd.conformance.engines.replay import Logits, Replayed
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.reference.radius import entropy
from mulo_sd.reference.sampling import target_log_probs
from mulo_sd.reference.settings import Settings


def reference_entropies(logits: Logits, settings: Settings) -> NDArray[np.float64]:
    """Return the entropy of p_u of every row of Float32[B, n, V], Float64[n], by the reference's functions."""
    cond, uncond = torch.from_numpy(logits[0]), torch.from_numpy(logits[-1])
    log_probs = target_log_probs(
        cond, uncond, settings.guidance_scale, settings.temperature, settings.top_k, settings.top_p
    )
    entropies: NDArray[np.float64] = entropy(log_probs).double().numpy()
    return entropies


def anchor_bonus(replayed: Replayed, model: int, number: int, cells: list[int]) -> NDArray[np.float32]:
    """Return what the engine's ANCHOR-1 adds to log p of cells drawn from a pass, Float32[n, V]."""
    cycles, rows = replayed.decoded.trace.cycles, []
    for cell in cells:
        cycle, codes = resampling_cycle(replayed.settings, cycles, model, number, cell), replayed.pipeline.bundle.codes
        if cycle is None or not replayed.settings.anchor:
            rows.append(np.zeros((1, len(codes)), dtype=np.float32))
        else:
            draft, first = cycle.up_sampled.numpy().ravel(), replayed.cycle_cells(cycle).start
            rows.append(Anchor(replayed.settings.anchor, codes, draft, first).bonus([cell]))
    return np.concatenate(rows)
