"""python -m conformance.tools.measure_gpu --out DIR: what only a GPU shows, in one run; results: docs/performance.md.

Parts, each of which prints its lines as they come and writes them to DIR/PART.json: `check` (decodes on the GPU equal
the CPU's, in fused kernels and in torch's), `kernels` (passes of few tokens, by kind), `batch` (images a
second by how many are drawn at once), `tensorrt` (whether TensorRT for RTX runs here), `plans` (decodes of the minimal
preset by its plans and on ONNX Runtime's CUDA provider equal the CPU's). The benchmark of published shapes is a command
of its own: python -m conformance.bench --shape llamagen-xl-512 tar-lp-1024 --device cuda --precision fp16 --quick.
"""

import argparse
import copy
import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from mulo_sd.conformance.bench.shapes import SHAPES, Shape, make_shape_pipeline, shape_bundle, shape_models
from mulo_sd.conformance.bench.workload import random_condition
from mulo_sd.engines.backends.torch_cuda.backend import TorchBackend
from mulo_sd.engines.commands.command_line import command, program, purpose
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.modes import MODES
from mulo_sd.engines.passes.transformer import TransformerSession
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.reference.checkpoints.vq import VQConfig
from mulo_sd.reference.largest_error import largest_error
from mulo_sd.reference.transformer import TransformerConfig

PASSES = 200
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Report:
    """One part's results: lines now, a file at once."""

    def __init__(self, out: Path, part: str) -> None:
        self.path, self.lines = out / f"{part}.json", list[dict[str, Any]]()

    def add(self, **values: Any) -> None:
        """Tell one result."""
        self.lines.append(values)
        print("  ".join(f"{name} {value}" for name, value in values.items()), flush=True)
        self.path.write_text(json.dumps(self.lines, indent=1) + "\n", encoding="utf-8")


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


def check(report: Report) -> None:
    """Decode the same on the CPU and on the GPU, in fp32, and count the tokens that are equal."""
    for name in ("llamagen", "tar"):
        shape = small_shape(name)
        models = shape_models(shape, "cpu", torch.float32)
        bundle = shape_bundle(shape, models, "fp32")
        condition = random_condition(bundle.manifest.target, 0)
        on_cpu = Pipeline(bundle, TorchBackend(models, torch.float32, "cpu"))
        on_gpu = copy.deepcopy(models)
        for part in (on_gpu.target, *on_gpu.drafters, on_gpu.tokenizer):
            part.to(DEVICE)
        ways: tuple[tuple[Literal["torch", "triton"], bool], ...] = (
            ("torch", False),
            ("triton", False),
            ("triton", True),
        )
        for chosen, pdl in ways if DEVICE == "cuda" else ways[:1]:
            backend = TorchBackend(on_gpu, torch.float32, DEVICE, kernels=chosen, pdl=pdl)
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


def seconds_a_pass(session: TransformerSession, filled: int, fed: int) -> float:
    """Return the median time of a pass of `fed` tokens after `filled` slots, its logits on the device."""
    cells = np.arange(filled, filled + fed) - session.entry.prefix_length
    tokens = np.zeros(fed, dtype=np.int64)
    times = []
    for number in range(PASSES):
        started = time.perf_counter()
        session.feed(cells, tokens)
        torch.cuda.synchronize()
        if number >= PASSES // 4:
            times.append(time.perf_counter() - started)
        session.slots.used = filled  # the same slots again
        session.slots.ranks[filled:] = np.iinfo(np.int64).max
        session.slots.slot_of_position[session.slots.slot_of_position >= filled] = -1
    return statistics.median(times)


def kernels(report: Report) -> None:
    """Time passes of full-size targets, by kind of kernel."""
    for name in ("llamagen-xl-512", "tar-lp-1024"):
        pipeline, _ = make_shape_pipeline(
            replace(SHAPES[name], models=SHAPES[name].models[:1]), "cuda", "fp16", "torch"
        )
        backend: Any = pipeline.backend
        entry = pipeline.bundle.manifest.target
        condition = random_condition(entry, 0)
        prefixes = condition.prefixes(pipeline.bundle.null_conditions[0], 7.5)
        ways: dict[str, Callable[[], Any]] = {
            "torch": backend.use_torch,
            "triton": partial(backend.use_triton, False),
            "triton, pdl": partial(backend.use_triton, True),
        }
        for way, use in ways.items():
            started = time.perf_counter()
            use()
            chosen = time.perf_counter() - started
            session = TransformerSession(backend, entry, prefixes)
            session.prefill()
            last = entry.prefix_length + entry.grid_height * entry.grid_width - 64
            filled = sorted({entry.prefix_length, (entry.prefix_length + last) // 2, last})
            cells = np.arange(last - entry.prefix_length)
            session.feed(cells, np.zeros(len(cells), dtype=np.int64))
            for slots in filled:
                for fed in (1, 4, 32):
                    seconds = seconds_a_pass(session, slots, fed)
                    report.add(shape=name, kernels=way, slots=slots, fed=fed, ms=round(1e3 * seconds, 4))
            report.add(shape=name, kernels=way, is_now=backend.kernels, chosen_s=round(chosen, 1), notes=backend.notes)
        del pipeline, backend, session
        torch.cuda.empty_cache()


def batch(report: Report) -> None:
    """Count images a second of AR, by how many are drawn at once."""
    pipeline, _ = make_shape_pipeline(SHAPES["llamagen-xl-512"], "cuda", "fp16", "triton")
    condition = random_condition(pipeline.bundle.manifest.target, 0)
    for mode in ("ar", "zipar"):
        for size in (1, 2, 4, 8):
            with pipeline.session(size) as session:
                for _ in range(2):  # the first compiles and captures
                    before, started = session.passes, time.perf_counter()
                    for request in [session.submit(condition, seed, mode) for seed in range(size)]:
                        request.result()
                    taken, passes = time.perf_counter() - started, session.passes - before
            report.add(
                mode=mode, at_once=size, seconds=round(taken, 3), per_second=round(size / taken, 3), passes=passes
            )


def tensorrt(report: Report) -> None:
    """Build a plan of the sampler here, and run it: whether TensorRT for RTX knows this GPU at all."""
    import onnx
    import tensorrt_rtx as trt

    from mulo_sd.export.plans import build_plan

    report.add(version=trt.__version__, capability=torch.cuda.get_device_capability())
    text = '<ir_version: 10, opset_import: ["" : 21]> g (float16[64, 64] x) => (float16[64, 64] y) { y = MatMul(x, x) }'
    path = report.path.with_name("product.onnx")
    onnx.save(onnx.parser.parse_model(text), path)
    plan = build_plan("trt-rtx", path, {"x": (64, 64)}, ({},), False)
    report.add(built_bytes=len(plan.content), seconds=round(plan.build_seconds, 2))
    runtime = trt.Runtime(trt.Logger(trt.Logger.INFO))
    engine = runtime.deserialize_cuda_engine(plan.content)
    report.add(deserialised=engine is not None)
    if engine is None:
        return
    context = engine.create_execution_context()
    report.add(context=context is not None)
    x = torch.randn(64, 64, device="cuda", dtype=torch.float16)
    y = torch.empty_like(x)
    context.set_tensor_address("x", x.data_ptr())
    context.set_tensor_address("y", y.data_ptr())
    ran = context.execute_async_v3(torch.cuda.current_stream().cuda_stream)
    torch.cuda.synchronize()
    report.add(ran=bool(ran), error=largest_error(y, x.float() @ x.float(), "product"))


def plans(report: Report) -> None:
    """Decode with every backend of plans, alone and sharing passes, and compare tokens with the CPU's."""
    from mulo_sd.engines.backends import make_backend
    from mulo_sd.engines.bundle import open_bundle
    from mulo_sd.engines.commands.demo_bundle import build_demo_bundle

    path = report.path.with_name("minimal-fp32")
    if not path.exists():
        build_demo_bundle(path, "fp32", plans=True, models="minimal")
    bundle = open_bundle(path)
    prompts, seeds = ["a red circle"] * 4, [1, 2, 3, 4]
    modes = tuple(MODES)
    cpu = Pipeline(bundle, make_backend("ort", bundle))
    expected = {mode: cpu.generate(prompts, seeds, mode, batch=1) for mode in modes}
    for name in ("trt-rtx", "trt", "ort-cuda"):
        try:
            backend = make_backend(name, bundle)
            for mode in modes:
                for at_once in (1, 4):
                    started = time.perf_counter()
                    drawn = Pipeline(bundle, backend).generate(prompts, seeds, mode, batch=at_once)
                    equal = [
                        np.array_equal(one.tokens, two.tokens) for one, two in zip(drawn, expected[mode], strict=True)
                    ]
                    seconds = round(time.perf_counter() - started, 3)
                    report.add(
                        backend=name, mode=mode, at_once=at_once, equal=sum(equal), of=len(equal), seconds=seconds
                    )
            report.add(backend=name, memory=backend.memory(), notes=list(backend.notes))
        except Exception as error:  # the next backend may be there
            report.add(backend=name, error=f"{type(error).__name__}: {error}")


PARTS: dict[str, Callable[[Report], None]] = {
    "check": check,
    "kernels": kernels,
    "batch": batch,
    "tensorrt": tensorrt,
    "plans": plans,
}


@command
def main() -> int:
    """Run the parts that are asked for; one that fails does not keep the next from running."""
    parser = argparse.ArgumentParser(prog=program("conformance.tools.measure_gpu"), description=purpose(__doc__))
    parser.add_argument("--out", type=user_path, required=True, help="folder")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    device = torch.cuda.get_device_name() if DEVICE == "cuda" else DEVICE
    print(f"torch {torch.__version__}, CUDA {torch.version.cuda}, {device}", flush=True)
    failed = 0
    for part in arguments.parts:
        started = time.perf_counter()
        try:
            PARTS[part](Report(arguments.out, part))
        except Exception:  # of whatever kind: the other parts are to be measured all the same
            failed += 1
            traceback.print_exc()
        print(f"{part}: {time.perf_counter() - started:.1f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
