"""Stages that run the models of a bundle: passes, samplers between grids, whole decodes, images."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mulo_sd.conformance.engines.cases import PROMPTS, SEED, SMALL_SETTINGS, SWEPT_SETTINGS
from mulo_sd.conformance.engines.reference_laws import width_is_open
from mulo_sd.conformance.vectors.case import Field, Output, Stage, Vector
from mulo_sd.conformance.vectors.function_stages import number
from mulo_sd.reference import demo
from mulo_sd.reference.decode import decode
from mulo_sd.reference.models import Models
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.trace import Cycle

# Passes after which slots are written out of order, or over what they hold, again and again, are told in full.
PASSES_OF = (
    *[item for item in SMALL_SETTINGS if item.decoding.is_local and item.temperature > 0][:3],
    SWEPT_SETTINGS[0],
    SWEPT_SETTINGS[4],
)
GUIDED = 2.0  # any scale but 1: both halves
# Where the width is the engine's choice (SWEEP-6), its passes are, too: here it is 1, which any engine can take.
FREE_RUNNING = tuple(
    replace(item, sweep_width=1) if width_is_open(item) else item
    for item in (*SMALL_SETTINGS, *SWEPT_SETTINGS)
    if item.temperature > 0
)


def as_text(settings: Settings) -> NDArray[np.uint8]:
    """Return settings as JSON, UInt8[bytes]: npz files hold arrays and nothing else."""
    return np.frombuffer(json.dumps(asdict(settings), sort_keys=True).encode(), dtype=np.uint8)


def _grid(cycles: list[Cycle], name: str, tokens: torch.Tensor) -> NDArray[np.bool_]:
    if not cycles:
        return np.full(tuple(tokens.shape), name == "kept")
    cells: NDArray[np.bool_] = torch.cat([getattr(cycle, name) for cycle in cycles]).numpy()
    return cells


def swept(trace: Any) -> NDArray[np.int64]:
    """Return the pass of each sweep of a trace, and how many cells it sampled and decided, Int[sweeps, 3]."""
    counts = [
        (number, len(sweep.cells), int(sweep.decided.sum()))
        for number, made in enumerate(trace.passes)
        for sweep in made.sweeps
    ]
    return np.array(counts, dtype=np.int64).reshape(-1, 3)


def _passes(models: Models, generator: np.random.Generator) -> Iterator[Vector]:
    """Every pass of whole decodes, fed again in the same order."""
    for index, settings in enumerate(PASSES_OF):
        condition = demo.condition(PROMPTS[index], SEED)
        decoded = decode(models, condition, settings, SEED, record_logits=True)
        prefixes = condition.prefixes(models.target, settings.guidance_scale)
        for number_of_model in settings.model_numbers:
            made = [item for item in decoded.trace.passes if item.model == number_of_model]
            logits = [item.logits for item in made if item.logits is not None]
            inputs: dict[str, NDArray[Any]] = {
                "model": number(number_of_model),
                "prefix_ids": prefixes.numpy(),
                "lengths": np.array([len(item.positions) for item in made]),
                "positions": torch.cat([item.positions for item in made]).numpy(),
                "tokens": torch.cat([item.tokens for item in made]).numpy(),
            }
            note = f"mode {settings.mode}, model {number_of_model}, {len(made)} passes"
            yield Vector(inputs, {"logits": torch.cat(logits, dim=1).numpy()}, note)


def _passes_stage(models: Models, tolerance: float) -> Stage:
    """Return what passes of a bundle's models answer."""
    return Stage(
        "passes",
        ("PREFILL", "GRID-2", "KV-1", "KV-2", "KV-3", "CONF-1"),
        {
            "model": Field("", "0 is the target, 1 drafts for it, 2 for model 1"),
            "prefix_ids": Field("B, P, fields", "conditional first"),
            "lengths": Field("passes", "how many pairs each pass feeds, the prefill first"),
            "positions": Field("all pairs", "sequence positions, pass after pass"),
            "tokens": Field("all pairs", "-1 is a prefix token"),
        },
        {"logits": Output("B, all pairs, codes", "of every pair fed", tolerance=tolerance)},
        partial(_passes, models),
        needs_models=True,
    )


def _rescaling(models: Models, generator: np.random.Generator) -> Iterator[Vector]:
    """Random rows between every two grids, up- and down-sampled."""
    pairs = [(high, low) for high in range(len(models.drafters)) for low in range(high + 1, len(models.drafters) + 1)]
    for high, low in pairs:
        ratio, grid = models.scale_ratio(high, low), models.transformer(low).config
        for rows in sorted({1, grid.grid_height}):
            coarse = torch.from_numpy(generator.integers(0, grid.vocabulary, (rows, grid.grid_width)))
            fine = models.up_sample("bicubic", coarse, ratio)
            inputs: dict[str, NDArray[Any]] = {
                "low_tokens": coarse.numpy(),
                "scale_ratio": number(ratio),
                "high_tokens": fine.numpy(),
            }
            answers = {"up_sampled": fine.numpy(), "down_sampled": models.down_sample("area", fine, ratio).numpy()}
            yield Vector(inputs, answers, f"ratio {ratio}, {rows} rows; bicubic up, area down")


def _rescaling_stage(models: Models) -> Stage:
    """Return what the samplers between a bundle's grids answer."""
    return Stage(
        "rescaling",
        ("SCALE-1", "SCALE-2"),
        {
            "low_tokens": Field("rows, w", "the rows known so far"),
            "high_tokens": Field("rows * r, w * r", "decided rows"),
            "scale_ratio": Field("", "r"),
        },
        {
            "up_sampled": Output("rows * r, w * r", "U_r of low_tokens"),
            "down_sampled": Output("rows, w", "D_r of high_tokens"),
        },
        partial(_rescaling, models),
        needs_models=True,
    )


def _decodes(models: Models, generator: np.random.Generator) -> Iterator[Vector]:
    """Whole decodes of every setting that samples."""
    for index, settings in enumerate(FREE_RUNNING):
        seed, prompt = SEED + (index << 32), PROMPTS[index % len(PROMPTS)]
        condition = demo.condition(prompt, seed)
        decoded = decode(models, condition, settings, seed)
        cycles = decoded.trace.cycles_of(0)
        inputs: dict[str, NDArray[Any]] = {
            "settings": as_text(settings),
            "seed": np.array(seed, dtype=np.uint64),
            "prefix_ids": condition.prefixes(models.target, GUIDED).numpy(),
        }
        answers = {
            "tokens": decoded.tokens.numpy(),
            "nfe": np.array([decoded.trace.nfe(model) for model in range(1 + len(models.drafters))]),
            "kept": _grid(cycles, "kept", decoded.tokens),
            "resampled": _grid(cycles, "resampled", decoded.tokens),
            "swept": swept(decoded.trace),
        }
        yield Vector(inputs, answers, f"mode {settings.mode}, drafters {settings.drafters}, {prompt!r}")


def _decode_stage(models: Models) -> Stage:
    """Return what whole decodes of a bundle give."""
    return Stage(
        "decode",
        (
            *("MODE-AR", "MODE-ZIPAR", "MODE-SERIAL", "MODE-PARALLEL", "MODE-EXACT", "CONF-3", "CONF-4"),
            *("SWEEP-1", "SWEEP-3", "SWEEP-4", "SWEEP-5", "SWEEP-6"),
        ),
        {
            "settings": Field("bytes", "JSON text, settings as in docs/semantics.md"),
            "seed": Field("", "0 to 2^64 - 1, unsigned"),
            "prefix_ids": Field("2, P, fields", "the condition and the null condition"),
        },
        {
            "tokens": Output("H, W", "the image's tokens"),
            "nfe": Output("models", "passes of each model"),
            "kept": Output("H, W", "bool; all true where nothing is drafted"),
            "resampled": Output("H, W", "bool; all false where nothing is drafted"),
            "swept": Output(
                "sweeps, 3", "the pass of each sweep, of all models, and how many cells it sampled and decided"
            ),
        },
        partial(_decodes, models),
        needs_models=True,
    )


def _images(models: Models, generator: np.random.Generator) -> Iterator[Vector]:
    """Images of random tokens."""
    config = models.target.config
    for _ in range(2):
        tokens = torch.from_numpy(generator.integers(0, config.vocabulary, (config.grid_height, config.grid_width)))
        image = models.tokenizer.images_from_tokens(tokens[None])[0]
        pixels = ((image + 1) * 127.5).clamp(0, 255).permute(1, 2, 0)
        yield Vector({"tokens": tokens.numpy()}, {"image": pixels.numpy()}, "random tokens")


def _image_stage(models: Models) -> Stage:
    """Return what the tokenizer's decoder answers."""
    return Stage(
        "image",
        ("CONF-2",),
        {"tokens": Field("H, W", "codes")},
        {"image": Output("H * f, W * f, 3", "red, green, blue, 0 to 255", tolerance=0.5)},
        partial(_images, models),
        needs_models=True,
    )


def model_stages(models: Models, tolerance: float) -> tuple[Stage, ...]:
    """Return the stages of a bundle's models.

    Args:
        models: The reference's, in float32.
        tolerance: Of a logit, by the bundle's precision.
    """
    return (_passes_stage(models, tolerance), _rescaling_stage(models), _decode_stage(models), _image_stage(models))
