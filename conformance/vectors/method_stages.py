"""The stage of whole decodes by methods whose drafts are judged pass by pass (METHOD-1): one for each kind of draft."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mulo_sd.conformance.engines.cases import METHOD_SETTINGS, PROMPTS, SEED
from mulo_sd.conformance.vectors.case import Field, Output, Stage, Vector
from mulo_sd.conformance.vectors.model_stages import GUIDED, as_text
from mulo_sd.reference import demo
from mulo_sd.reference.decode import decode
from mulo_sd.reference.models import Models
from mulo_sd.reference.noise import BLOCK, HEAD

MODES = ("sjd", "sjd-maximal", "pjd", "zipar-published", "eagle", "eagle-tree", "lantern-plus", "specdec", "ssd")
SETTINGS = tuple(next(item for item in METHOD_SETTINGS if item.mode == mode) for mode in MODES)
MODELS = (0, 1, 2, HEAD, BLOCK)


def windows_of(trace: Any) -> NDArray[np.int64]:
    """Return what each pass made of each of its windows, Int[windows, 7].

    A row has the model, the number of the pass among the model's, the first cell, and how many cells there are, hold a
    draft, stay and are decided.
    """
    rows: list[tuple[int, ...]] = []
    made = dict.fromkeys(MODELS, -1)
    for item in trace.passes:
        made[item.model] += 1
        for window in item.speculated:
            counts = (len(window.cells), *(int(each.sum()) for each in (window.drafted, window.kept, window.decided)))
            rows.append((item.model, made[item.model], int(window.cells[0]), *counts))
    return np.array(rows, dtype=np.int64).reshape(-1, 7)


def trees_of(trace: Any) -> NDArray[np.int64]:
    """Return what each pass made of its tree, Int[trees, 4]: the first cell, and nodes, those judged, decided cells."""
    rows = [
        (tree.cell, len(tree.tokens), len(tree.judged), len(tree.decided))
        for item in trace.passes
        for tree in item.trees
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, 4)


def _decodes(models: Models, generator: np.random.Generator) -> Iterator[Vector]:
    for index, settings in enumerate(SETTINGS):
        seed, prompt = SEED + (index << 32), PROMPTS[index % len(PROMPTS)]
        condition = demo.condition(prompt, seed)
        decoded = decode(models, condition, settings, seed)
        inputs: dict[str, NDArray[Any]] = {
            "settings": as_text(settings),
            "seed": np.array(seed, dtype=np.uint64),
            "prefix_ids": condition.prefixes(models.target, GUIDED).numpy(),
        }
        answers = {
            "tokens": decoded.tokens.numpy(),
            "nfe": np.array([decoded.trace.nfe(model) for model in MODELS]),
            "windows": windows_of(decoded.trace),
            "trees": trees_of(decoded.trace),
        }
        yield Vector(inputs, answers, f"mode {settings.mode}, {prompt!r}")


def method_stage(models: Models) -> Stage:
    """Return what whole decodes by methods give.

    Args:
        models: The reference's, in float32, with a head and a block drafter.
    """
    return Stage(
        "decode_method",
        (
            *(f"METHOD-{number}" for number in range(1, 7)),
            *("MODE-SJD", "MODE-PJD", "MODE-UNMASKED", "MODE-EAGLE", "MODE-LANTERN", "MODE-SPECDEC", "MODE-SSD"),
        ),
        {
            "settings": Field("bytes", "JSON text, settings as in docs/semantics.md"),
            "seed": Field("", "0 to 2^64 - 1, unsigned"),
            "prefix_ids": Field("2, P, fields", "the condition and the null condition"),
        },
        {
            "tokens": Output("H, W", "the image's tokens"),
            "nfe": Output("5", "passes of the target, drafters 1 and 2, the head (model 9), the block drafter (10)"),
            "windows": Output(
                "windows, 7",
                "of each window that a pass judged: the model, which of the model's passes (0 is the prefill), the "
                "first cell, and how many cells it has, of which a draft, that stay, that are decided",
            ),
            "trees": Output(
                "trees, 4", "of each tree: the first cell, how many nodes, nodes that were judged, cells decided"
            ),
        },
        partial(_decodes, models),
        needs_models=True,
    )
