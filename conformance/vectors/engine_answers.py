"""What the engines answer to every stage: they share no line with the reference that wrote the right answers."""

import json
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from mulo_sd import engines
from mulo_sd.conformance.subject import Subject
from mulo_sd.conformance.vectors.engine_method_answers import METHOD_ANSWERS, Inputs, nearest
from mulo_sd.conformance.vectors.model_stages import swept
from mulo_sd.conformance.vectors.sweep_stages import GUESSES
from mulo_sd.engines.bundle.contract import down_sampler_graph, up_sampler_graph
from mulo_sd.engines.passes.transformer import TransformerSession
from mulo_sd.engines.rules import noise
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.grid import expand, islands
from mulo_sd.engines.rules.radius import adaptive_radii
from mulo_sd.engines.rules.schedule import Schedule
from mulo_sd.engines.rules.sweeps import Sweeps, certain, first_guesses


def answer_noise(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the engines' own noise."""
    arguments = (int(inputs["seed"]), int(inputs["stream"]), inputs["positions"], int(inputs["count"]))
    uniform = noise.uniform_noise(*arguments, attempt=int(inputs["attempt"]))
    gumbel = noise.gumbel_noise(*arguments, attempt=int(inputs["attempt"]))
    return {"words": np.round(uniform * 2.0**32 - 0.5).astype(np.uint32), "gumbel": gumbel}


def answer_distribution(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the exported sampler, which knows the preset's number of codes only."""
    missing = 48 - inputs["cond_logits"].shape[1]
    wide = {
        name: np.pad(inputs[name], ((0, 0), (0, missing)), constant_values=-1e4 if "logits" in name else 0)
        for name in ("cond_logits", "uncond_logits", "noise")
    }
    settings = {
        name: inputs[name].astype(np.int64 if name == "top_k" else np.float32)
        for name in ("guidance_scale", "temperature", "top_k", "top_p")
    }
    backend = subject.pipeline.backend
    outputs = backend.run("sampler", wide | settings)
    near = np.zeros((48, 4), dtype=np.int64)
    judged = {name: value for name, value in wide.items() if name != "noise"} | settings
    draft = np.zeros(len(wide["noise"]), dtype=np.int64)
    entropies = backend.run("acceptance", judged | {"draft_tokens": draft, "neighbours": near})["entropies"]
    log_probs = outputs["log_probs"][:, : inputs["cond_logits"].shape[1]]
    return {"log_probs": log_probs, "tokens": outputs["tokens"], "entropies": entropies}


def answer_pooling(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer in plain numpy."""
    near = nearest(inputs["codes"], int(inputs["count"]))
    pooled = np.take_along_axis(inputs["probs"], near[inputs["draft_tokens"]], axis=1).sum(axis=1)
    return {"neighbours": near, "pooled": pooled, "kept": (pooled >= inputs["tau"]) & (inputs["tau"] <= 1)}


def answer_expansion(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the engines' grid and radius."""
    first, last = int(inputs["first_row"]), int(inputs["last_row"])
    radii = np.zeros(inputs["rejected"].shape, dtype=np.int64)
    radii[first:last] = adaptive_radii(inputs["entropies"], int(inputs["radius"]), float(inputs["radius_nats"]))
    return {"radii": radii[first:last], "resampled": expand(inputs["rejected"], radii, first, last)}


def answer_schedule(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the engines' schedule."""
    cells, window = inputs["cells"], int(inputs["window"])
    schedule = Schedule(cells, None if window < 0 else window, bool(inputs["by_island"]))
    step_of, island_of = np.full(cells.shape, -1), np.full(cells.shape, -1)
    step = 0
    while ready := schedule.ready():
        step_of.ravel()[ready] = step
        schedule.decide(ready)
        step += 1
    for number, island in enumerate(islands(cells)):
        island_of.ravel()[island] = number
    return {"step_of": step_of, "island_of": island_of}


def answer_certain(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the engines' own rule."""
    return {"decided": np.asarray(certain(inputs["guesses"], inputs["samples"]))}


def answer_sweeps(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the engines' sweeps."""
    width, limit = (None if int(inputs[name]) < 0 else int(inputs[name]) for name in ("width", "limit"))
    sweeps = Sweeps(inputs["cells"], bool(inputs["by_island"]), width, limit)
    tokens, decided_in = inputs["grid"].ravel().copy(), np.full(inputs["grid"].size, -1)
    sampled: list[int] = []
    while cells := sweeps.ready():
        before = [tokens[cell - 1] if cell else 0 for cell in cells]
        samples = inputs["table"][cells, before]
        decided = sweeps.settle(cells, tokens[cells], samples)
        tokens[cells] = samples
        decided_in[np.array(cells)[decided]] = len(sampled)
        sampled.append(len(cells))
    shape = inputs["cells"].shape
    return {"tokens": tokens.reshape(shape), "decided_in": decided_in.reshape(shape), "sampled": np.array(sampled)}


def answer_first_guesses(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the engines' own rule."""
    kind, opening = GUESSES[int(inputs["kind"])], inputs["opening"]
    grid, cells = inputs["grid"], inputs["cells"].tolist()
    return {"guesses": first_guesses(kind, grid.ravel(), grid.shape[1], cells, lambda chosen: opening[list(chosen)])}


def answer_anchor(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the engines' anchor."""
    anchor = Anchor(float(inputs["strength"]), inputs["codes"].astype(np.float32), inputs["draft_tokens"], 0)
    return {"bonus": anchor.bonus(range(len(inputs["draft_tokens"])))}


def answer_passes(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the exported transformers, fed pass by pass."""
    entry = subject.pipeline.bundle.manifest.models[int(inputs["model"])]
    session = TransformerSession(subject.pipeline.backend, entry, inputs["prefix_ids"])
    logits = [session.prefill().logits()]
    ends = np.cumsum(inputs["lengths"])
    for start, end in pairwise(ends.tolist()):
        cells = inputs["positions"][start:end] - entry.prefix_length
        logits.append(session.feed(cells, inputs["tokens"][start:end]).logits())
    return {"logits": np.concatenate(logits, axis=1)}


def answer_rescaling(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the exported samplers."""
    backend, ratio = subject.pipeline.backend, int(inputs["scale_ratio"])
    up = backend.run(up_sampler_graph(ratio, "bicubic"), {"low_tokens": inputs["low_tokens"]})["high_tokens"]
    down = backend.run(down_sampler_graph(ratio, "area"), {"high_tokens": inputs["high_tokens"]})["low_tokens"]
    return {"up_sampled": up, "down_sampled": down}


def answer_decode(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the engines' loop."""
    pipeline, settings = subject.pipeline, json.loads(inputs["settings"].tobytes())
    decoded = pipeline.decode(
        engines.Condition(*inputs["prefix_ids"]), pipeline.settings(**settings), int(inputs["seed"])
    )
    cycles, shape = decoded.trace.cycles_of(0), decoded.tokens.shape
    numbers = range(len(pipeline.bundle.manifest.models))
    return {
        "tokens": decoded.tokens,
        "nfe": np.array([decoded.trace.nfe(number) for number in numbers]),
        "kept": np.concatenate([cycle.kept for cycle in cycles]) if cycles else np.ones(shape, dtype=np.bool_),
        "resampled": np.concatenate([cycle.resampled for cycle in cycles]) if cycles else np.zeros(shape, np.bool_),
        "swept": swept(decoded.trace),
    }


def answer_image(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the exported decoder."""
    return {"image": subject.pipeline.backend.run("decoder", {"tokens": inputs["tokens"]})["image"]}


ANSWERS: dict[str, Callable[[Inputs, Subject], Inputs]] = {
    "noise": answer_noise,
    "distribution": answer_distribution,
    "pooling": answer_pooling,
    "expansion": answer_expansion,
    "schedule": answer_schedule,
    "certain": answer_certain,
    "sweeps": answer_sweeps,
    "first_guesses": answer_first_guesses,
    "anchor": answer_anchor,
    "passes": answer_passes,
    "rescaling": answer_rescaling,
    "decode": answer_decode,
    "image": answer_image,
    **METHOD_ANSWERS,
}
