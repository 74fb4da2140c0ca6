"""python -m conformance.tools.tune_gpu: times a pass of one token of the XL target, way by way and setting by setting.

Each line: the way, what was set, the median time of a pass under a CUDA graph, how far its logits are off, and whether
twice gave the same bits. With --phases, those of a pass launched one by one too, each by itself over all layers.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from mulo_sd.conformance.bench.shapes import SHAPES
from mulo_sd.engines.backends.torch_cuda import check
from mulo_sd.engines.backends.torch_cuda.cache import SLOT_STEP, rounded_up
from mulo_sd.engines.backends.torch_cuda.eager import run_eagerly
from mulo_sd.engines.backends.torch_cuda.few_rows import DEFAULTS, PHASES, FewRows, Held, Way
from mulo_sd.engines.backends.torch_cuda.fused import FusedPass
from mulo_sd.engines.backends.torch_cuda.kernels import few_rows as kernels
from mulo_sd.engines.backends.torch_cuda.weights import pack
from mulo_sd.engines.commands.command_line import command, program, purpose
from mulo_sd.reference.transformer import Transformer

# What differs from the defaults, by way; the most telling first.
CHOICES: dict[Way, tuple[dict[str, Any], ...]] = {
    "persistent": (
        {},
        {"splits": 1},
        {"fetch": False},
        {"held": Held(0.0, 0.0, 0.0, 0.0)},
        {"warps": 16, "held": Held(1.0, 1.0, 0.4, 0.5)},
        {"programs": 132},
        {"warps": 4, "programs": 256, "held": Held(0.6, 1.0, 0.4, 0.5)},
        {"cooperative": False},
    ),
    "chained": (
        {},
        {"splits": 1},
        {"fetch": False},
        {"registers": 0, "held": Held(1.0, 1.0, 0.4, 0.5)},
        {"warps": 4, "programs": 256, "held": Held(0.4, 1.0, 0.2, 0.4)},
    ),
}


def graph_of(work: Callable[[], Any], times: int = 1) -> torch.cuda.CUDAGraph:
    """Capture work that was done before."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(times):
            work()
    return graph


def microseconds(graph: torch.cuda.CUDAGraph, repeats: int = 60) -> float:
    """Return the median time of a replay; between replays, something else has the cache."""
    times = []
    for _ in range(repeats):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        began.record()
        graph.replay()
        ended.record()
        ended.synchronize()
        times.append(1e3 * began.elapsed_time(ended))
    return float(statistics.median(times[repeats // 4 :]))


@command
@command
def main() -> int:
    """Time all choices; one that fails does not keep the next from running."""
    parser = argparse.ArgumentParser(prog=program("conformance.tools.tune_gpu"), description=purpose(__doc__))
    parser.add_argument("--shape", default="llamagen-xl-512", choices=SHAPES, help="default: %(default)s")
    ways = ["persistent", "chained", "separate"]
    parser.add_argument("--ways", nargs="+", default=ways[:2], choices=ways, help="default: %(default)s")
    parser.add_argument("--filled", type=int, default=600, help="slots before the pass")
    parser.add_argument("--batch", type=int, default=2, help="rows; default: %(default)s")
    parser.add_argument("--fed", type=int, default=1, help="tokens a row")
    parser.add_argument("--most", type=int, default=3, help="settings of a way; each of one kernel compiles for 10 s")
    parser.add_argument("--phases", action="store_true", help="time the phases of a pass one by one")
    parser.add_argument("--device", default="cuda", help="as PyTorch names it; default: %(default)s")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    with torch.inference_mode(), torch.device(device):
        model = Transformer(SHAPES[arguments.shape].models[0]).to(torch.float16)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, parameter.shape[-1] ** -0.5)
    weights = pack(model, torch.float16, device)
    config, batch, fed = weights.config, arguments.batch, arguments.fed
    capacity = rounded_up(config.sequence_length + 320, SLOT_STEP)
    shape = (config.layers, batch, config.heads, capacity, config.head_dim)
    keys, values = (torch.randn(shape, device=device, dtype=torch.float16) for _ in range(2))
    generator = torch.Generator().manual_seed(1)
    inputs = check.random_inputs(weights, batch, fed, arguments.filled, capacity, generator)
    expected = run_eagerly(weights, keys, values, inputs, capacity).float()
    matrices = sum(tensor.nbytes for layer in weights.layers for tensor in vars(layer).values())
    attended = config.layers * batch * arguments.filled * config.dim * 4
    floor = (matrices + weights.output.nbytes + attended) / 4.25e6
    print(f"floor at 4.25 TB/s: {floor:.0f} us", flush=True)

    def tell(name: str, passes: Any) -> None:
        started = time.perf_counter()
        try:
            with torch.inference_mode():
                found = [passes.run(keys, values, inputs).clone() for _ in range(3)]
                torch.cuda.synchronize()
                compiled = time.perf_counter() - started
                trouble = passes.trouble()
                error = float((found[0] - expected).norm() / expected.norm())
                equal = all(torch.equal(found[0], other) for other in found)
                took = microseconds(graph_of(lambda: passes.run(keys, values, inputs))) if trouble is None else 0.0
                same = torch.equal(found[0], passes.run(keys, values, inputs))
            print(
                f"{name}: {took:.1f} us, {took / floor:.2f} x floor, error {error:.2g}, same bits {equal and same}, "
                f"ready after {compiled:.1f} s{'' if trouble is None else ', ' + trouble}",
                flush=True,
            )
        except Exception as error:  # of whatever kind
            print(f"{name}: {type(error).__name__}: {str(error).splitlines()[:1]}", flush=True)

    for way, choices in CHOICES.items():
        if way in arguments.ways:
            for choice in choices[: arguments.most]:
                tell(f"{way} {choice}", FewRows(weights, device, way, DEFAULTS[way]._replace(**choice)))
    if "separate" in arguments.ways:
        for pdl in (False, True):
            tell(f"separate, pdl {pdl}", FusedPass(weights, device, pdl))
    if arguments.phases:
        passes = FewRows(weights, device, "chained")
        for name, phase in PHASES.items():
            several = phase not in (kernels.EMBED, kernels.HEAD)

            def work(phase: int = phase, several: bool = several) -> None:
                for layer in range(config.layers):
                    first = layer if several or phase == kernels.EMBED else config.layers
                    passes.launch(keys, values, inputs, phase, first, first + several)

            with torch.inference_mode():
                work()
                took = microseconds(graph_of(work), 30) / config.layers
            print(f"phase {name}: {took:.2f} us", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
