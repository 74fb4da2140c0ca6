"""What the engines answer to the stages of methods: acceptances, corrections, next guesses, whole decodes."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd import engines
from mulo_sd.conformance.subject import Subject
from mulo_sd.conformance.vectors.acceptance_stages import RULE_CASES, stage_of
from mulo_sd.conformance.vectors.correction_stages import CARRIES
from mulo_sd.conformance.vectors.method_stages import MODELS, trees_of, windows_of
from mulo_sd.engines.rules import noise
from mulo_sd.engines.rules.acceptances import ACCEPTANCES
from mulo_sd.engines.rules.acceptances.accepted import Codes
from mulo_sd.engines.rules.corrections import Prefix, Rounds, Rows
from mulo_sd.engines.settings import Settings

Inputs = dict[str, NDArray[Any]]


def nearest(codes: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Return B_k of each code in plain numpy, Int[V, count] (POOL-1)."""
    wide = codes.astype(np.float64)
    distances = ((wide[:, None] - wide[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, -1)
    return np.argsort(distances, axis=1, kind="stable")[:, :count]


def answer_acceptance(acceptance: str, inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the engines' rule."""
    settings = Settings(**{name: value.item() for name, value in inputs.items() if value.ndim == 0})
    probs, draft_probs = (inputs[name].astype(np.float64) for name in ("probs", "draft_probs"))
    vectors = inputs.get("codes", np.zeros((1, 1), dtype=np.float32))
    codes = Codes(vectors, nearest(vectors, settings.neighbours))
    drafts = inputs["draft_tokens"]
    accepted = ACCEPTANCES[acceptance](probs, draft_probs, drafts, np.arange(len(drafts)), settings, codes)
    weights = np.where(accepted.residuals.any(axis=1, keepdims=True), accepted.residuals, probs)
    return {"chances": accepted.chances, "redrawn": weights / weights.sum(axis=1, keepdims=True)}


def _course(correction: Prefix | Rounds | Rows, kept: NDArray[Any], drafts: int) -> Inputs:
    """Decide all cells of a correction, of whose windows so many cells hold a draft."""
    scored: list[NDArray[np.bool_]] = []
    decided_in = np.full(kept[0].shape, -1)
    while windows := correction.windows():
        now, seen = kept[len(scored)].ravel(), np.zeros(kept[0].shape, dtype=np.bool_)
        stays = []
        for number, window in enumerate(windows):
            count = min(window.drafted, drafts)
            windows[number] = window.until_undrafted(window.cells[:count])
            cells = windows[number].cells
            stays.append(now[cells] & (np.arange(len(cells)) < count))
            seen.flat[cells] = True
        for window, count in zip(windows, correction.settle(stays), strict=True):
            decided_in.flat[window.cells[:count]] = len(scored)
        scored.append(seen)
    return {"scored": np.stack(scored), "decided_in": decided_in}


def answer_prefix(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the engines' correction from the first rejection."""
    cells: list[int] = np.flatnonzero(inputs["cells"]).tolist()
    return _course(Prefix(cells, int(inputs["length"])), inputs["kept"], int(inputs["drafts"]))


def answer_rounds(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the engines' rounds."""
    cells: list[int] = np.flatnonzero(inputs["cells"]).tolist()
    return _course(Rounds(cells, int(inputs["rounds"])), inputs["kept"], len(cells))


def answer_rows(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the engines' rows."""
    kept = inputs["kept"]
    cells = list(range(kept[0].size))
    return _course(Rows(cells, kept.shape[2], int(inputs["length"]), int(inputs["row_lead"])), kept, len(cells))


def answer_next_guesses(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer in plain numpy."""
    carry, guesses, fresh = CARRIES[int(inputs["carry"])], inputs["guesses"], inputs["fresh"]
    probs, draft_probs = inputs["probs"], inputs["draft_probs"]
    if carry == "coupled":
        return {"tokens": np.where(inputs["kept"], guesses, inputs["redrawn"]), "next_probs": probs}
    own = np.arange(len(guesses)), guesses
    stays = (carry == "kept") & inputs["drafted"] & (2 * probs[own] > draft_probs[own])
    return {
        "tokens": np.where(stays, guesses, fresh),
        "next_probs": np.where(stays[:, None], draft_probs, probs),
    }


def answer_tree(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer in plain numpy, with the engines' acceptance and noise."""
    seed, first, tokens, parents = (inputs[name] for name in ("seed", "cell", "tokens", "parents"))
    decided, judged = list[int](), list[tuple[int, float, bool]]()
    node, codes = -1, Codes(np.zeros((1, 1), dtype=np.float32), np.zeros((1, 1), dtype=np.int64))
    for depth in range(int(inputs["undecided"])):
        cell, probs = first[None] + depth, inputs["probs"][node + 1].astype(np.float64)
        children = np.flatnonzero(parents == node)
        uniform = noise.uniform_noise(int(seed), 1, cell, max(1, len(children)))[0]
        node = -1
        for rank, child in enumerate(children):
            draft_probs = inputs["draft_probs"][child].astype(np.float64)
            draft_probs[tokens[children[:rank]]] = 0
            draft_probs /= draft_probs.sum()
            draft = tokens[child : child + 1]
            accepted = ACCEPTANCES["lossless"](
                probs[None], draft_probs[None], draft, np.array([depth]), Settings(), codes
            )
            kept = bool(uniform[rank] < accepted.chances[0])
            judged.append((int(child), float(accepted.chances[0]), kept))
            if kept:
                node = int(child)
                break
            residual = accepted.residuals[0]
            probs = residual / residual.sum() if residual.any() else probs
        if node < 0:
            gumbel = noise.gumbel_noise(int(seed), 0, cell, len(probs), attempt=int(len(children) > 0))[0]
            with np.errstate(divide="ignore"):  # log 0 is -inf: never drawn
                decided.append(int((np.log(probs).astype(np.float32) + gumbel).argmax()))
            break
        decided.append(int(tokens[node]))
    return {
        "decided": np.array(decided),
        "judged": np.array([entry[0] for entry in judged], dtype=np.int64),
        "chances": np.array([entry[1] for entry in judged], dtype=np.float64),
        "kept": np.array([entry[2] for entry in judged], dtype=np.bool_),
    }


def answer_method_decode(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the engines' loop."""
    pipeline, settings = subject.pipeline, json.loads(inputs["settings"].tobytes())
    condition = engines.Condition(*inputs["prefix_ids"])
    decoded = pipeline.decode(condition, pipeline.settings(**settings), int(inputs["seed"]))
    return {
        "tokens": decoded.tokens,
        "nfe": np.array([decoded.trace.nfe(model) for model in MODELS]),
        "windows": windows_of(decoded.trace),
        "trees": trees_of(decoded.trace),
    }


METHOD_ANSWERS: dict[str, Callable[[Inputs, Subject], Inputs]] = {
    **{stage_of(acceptance): partial(answer_acceptance, acceptance) for acceptance in RULE_CASES},
    "correct_prefix": answer_prefix,
    "correct_rounds": answer_rounds,
    "correct_rows": answer_rows,
    "next_guesses": answer_next_guesses,
    "walk_tree": answer_tree,
    "decode_method": answer_method_decode,
}
