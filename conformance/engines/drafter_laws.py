"""A law of heads and block drafters: the reference decodes beside the engine, as long as both decide the same."""

from functools import lru_cache

import torch

from mulo_sd.conformance.engines.engine_case import EngineCase
from mulo_sd.conformance.rules.branches import reach
from mulo_sd.conformance.rules.decode_laws import recorded
from mulo_sd.conformance.rules.replay import BLOCK, HEAD
from mulo_sd.reference.decode import Decoded, decode
from mulo_sd.reference.trace import Pass

# A head is fed hidden states that are off, too: the target's, and along a chain or a branch its own, step by step. In
# half precision those grow without a bound, so that the first step alone is compared.
ALLOWED_A_STEP = 4


@lru_cache(maxsize=16)
def _reference(case: EngineCase) -> Decoded:
    """Decode a case with the reference, logits recorded."""
    with torch.inference_mode():
        return decode(case.models, case.condition, case.settings, case.seed, record_logits=True)


def _fed(made: Pass) -> tuple[int, list[int], list[int]]:
    return made.model, made.positions.tolist(), made.tokens.tolist()


def _decided(made: Pass) -> list[list[int]]:
    """Return what a pass decided of windows and trees of drafts, and how many of each."""
    windows = [item.tokens[item.decided].tolist() for item in made.speculated]
    return [*windows, *(tree.decided.tolist() for tree in made.trees)]


def drafters_logits_are_the_references(case: EngineCase, decoded: Decoded) -> None:
    """METHOD-6, MODE-EAGLE, MODE-SPECDEC: a head and a block drafter read, and make of it, what the reference's do.

    They read what the target decided and its hidden states, and then their own drafts. Where the target decides
    something else the rest is another decode; where a drafter does, the next pass of the target tells.
    """
    if not (case.settings.decoding.has_head or case.settings.decoding.draft == "block"):
        return
    step = 0
    for number, (ours, theirs) in enumerate(zip(decoded.trace.passes, _reference(case).trace.passes, strict=False)):
        what, is_same = f"pass {number}, of model {ours.model}", _fed(ours) == _fed(theirs)
        if ours.model == theirs.model >= HEAD and (ours.model == BLOCK or not step):
            assert is_same, f"{what}: feeds {_fed(ours)[1:]}, the reference's {_fed(theirs)[1:]}"
        if not is_same or _decided(ours) != _decided(theirs):
            return
        step = step + 1 if ours.model >= HEAD else 0
        if step == 1 or (step and case.subject.precision == "fp32"):
            allowed = ALLOWED_A_STEP * step * case.rounding.logits
            off = float((recorded(ours) - recorded(theirs)).abs().max())
            assert off <= allowed, f"{what}: logits are off by {off:.3g}, expected at most {allowed:.3g}"
            reach("a drafter's pass is compared")
