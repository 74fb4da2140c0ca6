"""The shipped demo models and their conditions."""

import json
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import torch

from mulo_sd.engines.prompts import Plan, make_plan, null_prefix, parse, prefix_from_plan
from mulo_sd.engines.prompts.plan import check_plan
from mulo_sd.reference.demo.shipped import shipped_file
from mulo_sd.reference.latent import LatentScaler
from mulo_sd.reference.models import Condition, Models
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.trained.fit import check_sampler
from mulo_sd.reference.weights import (
    WeightsError,
    load_head,
    load_latent_down_sampler,
    load_latent_up_sampler,
    load_tokenizer,
    load_transformer,
)

LATENT_RATIOS = (2, 4)
MODEL_NAMES = (
    "target",
    "drafter_1",
    "drafter_2",
    "tokenizer",
    *(f"{direction}_sampler_{ratio}" for direction in ("up", "down") for ratio in LATENT_RATIOS),
    "head",
    "block",
)
# The settings that docs/study measures best; the bundle's defaults.
RECOMMENDED = Settings(
    mode="parallel",
    guidance_scale=1.2,
    top_p=0.95,
    drafters=(1, 2),
    tau=0.2,
    radius=2,
    anchor=8.0,
    neighbours=16,
    draft_window=2,
    island_window=2,
)
_FEW_PASSES = replace(
    RECOMMENDED,
    radius=1,
    anchor=16.0,
    draft_by="sweeps",
    draft_sweeps=6,
    resample_by="sweeps",
    sweeps=7,
    sweep_width=None,
)
# By the name of a bundle's preset: windows, which the study is about, and the fewest passes, which count on a GPU.
PRESETS = {"windows": RECOMMENDED, "passes": _FEW_PASSES}


def check_hashes() -> dict[str, str]:
    """Return the sha256 of every shipped weight file, compared with its card.

    Raises:
        WeightsError: the demo is not installed, or a file is missing or differs from its card.
    """
    hashes = {}
    for name in MODEL_NAMES:
        path, card = shipped_file(f"{name}.safetensors"), shipped_file(f"{name}.json")
        hashes[name] = sha256(path.read_bytes()).hexdigest()
        expected = json.loads(card.read_text(encoding="utf-8"))["sha256"]
        if hashes[name] != expected:
            raise WeightsError(f"{path}: expected sha256 {expected}, got {hashes[name]}; install mulo-sd-demo again")
    return hashes


def load() -> Models:
    """Load the shipped target, drafters, tokenizer, latent samplers, head and block drafter in float32.

    Raises:
        WeightsError: the demo is not installed, or a file is missing or differs from its card.
    """
    check_hashes()
    target = load_transformer(shipped_file("target.safetensors"))
    return Models(
        target=target,
        drafters=tuple(load_transformer(shipped_file(f"drafter_{number}.safetensors")) for number in (1, 2)),
        tokenizer=load_tokenizer(shipped_file("tokenizer.safetensors")),
        latent_up_samplers={
            ratio: load_latent_up_sampler(shipped_file(f"up_sampler_{ratio}.safetensors")) for ratio in LATENT_RATIOS
        },
        latent_down_samplers={
            ratio: load_latent_down_sampler(shipped_file(f"down_sampler_{ratio}.safetensors"))
            for ratio in LATENT_RATIOS
        },
        head=load_head(shipped_file("head.safetensors"), target),
        block=load_transformer(shipped_file("block.safetensors")),
    )


def with_latent_samplers(models: Models, up_samplers: Sequence[Path], down_samplers: Sequence[Path]) -> Models:
    """Return models in which latent samplers from files take the places of those of the same ratio.

    Raises:
        WeightsError: a file cannot be used, or was trained for another tokenizer or another ratio.
    """
    up, down = dict(models.latent_up_samplers), dict(models.latent_down_samplers)
    for path in up_samplers:
        up_sampler = load_latent_up_sampler(path)
        _check_latent_sampler(up_sampler, models, path)
        up[up_sampler.config.scale_ratio] = up_sampler
    for path in down_samplers:
        down_sampler = load_latent_down_sampler(path)
        _check_latent_sampler(down_sampler, models, path)
        down[down_sampler.config.scale_ratio] = down_sampler
    return replace(models, latent_up_samplers=up, latent_down_samplers=down)


def _check_latent_sampler(scaler: LatentScaler, models: Models, path: Path) -> None:
    if scaler.config.scale_ratio not in LATENT_RATIOS:
        ratios = " or ".join(map(str, LATENT_RATIOS))
        raise WeightsError(f"{path}: expected a sampler of ratio {ratios}, got {scaler.config.scale_ratio}")
    check_sampler(scaler, path, scaler.config.scale_ratio, models.tokenizer)


def condition(prompt: str, seed: int = 0, plan: Plan | None = None) -> Condition:
    """Return the prefix of a prompt: its caption and its plan (made with `seed` where none is given).

    Raises:
        PromptError: the prompt is not understood.
        PlanError: the plan does not fit the prompt.
    """
    parsed = parse(prompt)
    if plan is None:
        plan = make_plan(parsed, seed)
    check_plan(plan, parsed)
    return Condition(cond=torch.from_numpy(prefix_from_plan(parsed, plan)), uncond=torch.from_numpy(null_prefix()))
