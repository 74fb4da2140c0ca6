"""Decodes on the GPU equal the CPU's, in fused kernels and in torch's."""

import copy
from typing import Any, Literal

import torch

from mulo_sd.conformance.bench.shapes import Shape, shape_bundle, shape_models
from mulo_sd.conformance.bench.workload import random_condition
from mulo_sd.conformance.tools.gpu.report import Asked, Report
from mulo_sd.engines.backends.torch_cuda.backend import TorchBackend
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.reference.checkpoints.vq import VQConfig
from mulo_sd.reference.transformer import TransformerConfig


def small_shape(name: str) -> Shape:
    """Return models of a family, small enough for the CPU."""
    own: dict[str, Any] = {
        "llamagen": {"condition": "caption", "condition_width": 24, "zero_prefix_rotation": True, "absolute": False},
        "tar": {"condition": "features", "condition_width": 24, "rotary": False},
    }[name]
    sizes: dict[str, Any] = {"layers": 3, "heads": 4, "dim": 256, "prefix_length": 9, "prefix_vocabulary": 1} | own
    models = tuple(TransformerConfig(side, side, vocabulary=512, **sizes) for side in (16, 8))
    tokenizer = VQConfig(channels=32, multipliers=(1, 2), residual_blocks=1, z_channels=32, codes=512)
    return Shape(name, name, models, tokenizer, {"guidance_scale": 2.0, "top_k": 100, "top_p": 0.9})


def check(report: Report, asked: Asked) -> None:
    """Decode the same on the CPU and on the GPU, in fp32, and count the tokens that are equal."""
    for name in ("llamagen", "tar"):
        shape = small_shape(name)
        models = shape_models(shape, "cpu", torch.float32)
        bundle = shape_bundle(shape, models, "fp32")
        condition = random_condition(bundle.manifest.target, 0)
        on_cpu = Pipeline(bundle, TorchBackend(models, torch.float32, "cpu"))
        on_gpu = copy.deepcopy(models)
        for part in (on_gpu.target, *on_gpu.drafters, on_gpu.tokenizer):
            part.to(asked.device)
        ways: tuple[tuple[Literal["torch", "triton"], bool], ...] = (
            ("torch", False),
            ("triton", False),
            ("triton", True),
        )
        for chosen, pdl in ways if asked.device == "cuda" else ways[:1]:
            backend = TorchBackend(on_gpu, torch.float32, asked.device, kernels=chosen, pdl=pdl)
            pipeline = Pipeline(bundle, backend)
            # Every number of tokens that a pass feeds is compiled anew.
            for mode in ("ar", "zipar", "serial", "parallel", "exact") if chosen == "torch" else ("ar", "parallel"):
                settings = on_cpu.settings(mode=mode, tau=0.02)
                expected = on_cpu.decode(condition, settings, 1).tokens
                equal = [pipeline.decode(condition, settings, 1).tokens == expected for _ in range(3)]
                report.add(
                    family=name,
                    kernels=backend.kernels,
                    pdl=pdl,
                    mode=mode,
                    equal=[round(float(item.mean()), 3) for item in equal],
                    notes=backend.notes,
                )
        # Several at once, over a pool.
        session = pipeline.session(4)
        with session:
            requests = [session.submit(condition, seed, "ar") for seed in range(4)]
            both = [(request.result().tokens == pipeline.draw(condition, seed, "ar").tokens).mean()
                    for seed, request in enumerate(requests)]  # fmt: skip
        report.add(family=name, batch=4, equal=[round(float(value), 3) for value in both])
