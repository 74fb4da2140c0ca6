"""python -m conformance.tools.tune_gpu: times a pass of one token of a full-size target, tuning by tuning.

Each line: what differs from the defaults, the median time of a pass under a CUDA graph, how far its logits are off, and
whether twice gave the same bits. With --kernels, each kernel of a pass too, by itself over all layers.
"""

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mulo_sd.conformance.bench.shapes import SHAPES
from mulo_sd.engines.backends.torch_cuda import check
from mulo_sd.engines.backends.torch_cuda.cache import SLOT_STEP, PassInputs, rounded_up
from mulo_sd.engines.backends.torch_cuda.eager import run_eagerly
from mulo_sd.engines.backends.torch_cuda.few_tuning import DEFAULT_TUNING, Held
from mulo_sd.engines.backends.torch_cuda.weights import TransformerWeights, pack
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.reference.transformer import Transformer, TransformerConfig

# What differs from the defaults; the most telling first.
CHOICES: tuple[dict[str, Any], ...] = (
    {},
    {"splits": 1},
    {"registers": 0, "held": Held(1.0, 1.0, 0.4, 0.5)},
    {"warps": 4, "programs": 256, "held": Held(0.4, 1.0, 0.2, 0.4)},
    {"programs": 132},
)
# Of an H200, measured by the benchmark: bytes of copies a microsecond.
BYTES_A_MICROSECOND = 4.25e6


class TimedPass(NamedTuple):
    """A random pass that is timed.

    Attributes:
        weights: The model's.
        keys: Float[layers, B, heads, capacity, head_dim].
        values: The same.
        inputs: Of the pass.
        expected: Its logits by torch's operations, Float32[B, T, V].
    """

    weights: TransformerWeights
    keys: Tensor
    values: Tensor
    inputs: PassInputs
    expected: Tensor

    def floor(self, filled: int) -> float:
        """Return the microseconds that reading weights and `filled` slots takes."""
        weights, config = self.weights, self.weights.config
        matrices = sum(tensor.nbytes for layer in weights.layers for tensor in vars(layer).values())
        attended = config.layers * len(self.inputs.tokens) * filled * config.dim * 4
        return float(matrices + weights.output.nbytes + attended) / BYTES_A_MICROSECOND


def random_pass(config: TransformerConfig, device: torch.device, batch: int, fed: int, filled: int) -> TimedPass:
    """Return a pass of a random model in fp16.

    Args:
        config: The model's size.
        device: A GPU.
        batch: Rows.
        fed: Tokens a row.
        filled: Slots before the pass.
    """
    with torch.inference_mode(), torch.device(device):
        model = Transformer(config).to(torch.float16)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, parameter.shape[-1] ** -0.5)
    weights = pack(model, torch.float16, device)
    capacity = rounded_up(config.sequence_length + 320, SLOT_STEP)
    shape = (config.layers, batch, config.heads, capacity, config.head_dim)
    keys, values = (torch.randn(shape, device=device, dtype=torch.float16) for _ in range(2))
    inputs = check.random_inputs(weights, batch, fed, filled, capacity, torch.Generator().manual_seed(1))
    expected = run_eagerly(weights, keys, values, inputs, capacity).float()
    return TimedPass(weights, keys, values, inputs, expected)


def graph_of(work: Callable[[], Any]) -> torch.cuda.CUDAGraph:
    """Capture work that was done before."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
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


def time_tuning(choice: dict[str, Any], timed: TimedPass, device: torch.device, floor: float) -> str:
    """Return the line of one tuning."""
    from mulo_sd.engines.backends.torch_cuda.few_rows import FewRows

    started = time.perf_counter()
    passes = FewRows(timed.weights, device, tuning=DEFAULT_TUNING._replace(**choice))

    def run() -> Tensor:
        return passes.run(timed.keys, timed.values, timed.inputs)

    with torch.inference_mode():
        logits = [run().clone() for _ in range(3)]
        torch.cuda.synchronize()
        compiled = time.perf_counter() - started
        took = microseconds(graph_of(run))
        same = all(torch.equal(logits[0], other) for other in (*logits[1:], run()))
    error = float((logits[0] - timed.expected).norm() / timed.expected.norm())
    return (
        f"{took:.1f} us, {took / floor:.2f} x floor, error {error:.2g}, same bits {same}, ready after {compiled:.1f} s"
    )


def time_kernels(timed: TimedPass, device: torch.device) -> dict[str, float]:
    """Return the microseconds of each kernel of a pass, a launch's mean over all layers."""
    from mulo_sd.engines.backends.torch_cuda.few_rows import FewRows

    by_name: dict[str, list[Callable[[], Any]]] = {}
    for name, launch in FewRows(timed.weights, device).launches(timed.keys, timed.values, timed.inputs):
        by_name.setdefault(name, []).append(launch)
    layers, times = timed.weights.config.layers, {}
    with torch.inference_mode():
        for name, launches in by_name.items():
            repeated = launches * (layers // len(launches))  # embedding and head come once a pass

            def work(repeated: list[Callable[[], Any]] = repeated) -> None:
                for launch in repeated:
                    launch()

            work()
            times[name] = microseconds(graph_of(work), 30) / layers
    return times


@command
def main() -> int:
    """Time all choices; one that fails does not keep the next from running."""
    parser = command_parser("conformance.tools.tune_gpu", __doc__)
    parser.add_argument("--shape", default="llamagen-xl-512", choices=SHAPES, help="default: %(default)s")
    parser.add_argument("--filled", type=int, default=600, help="slots before the pass; default: %(default)s")
    parser.add_argument("--batch", type=int, default=2, help="rows; default: %(default)s")
    parser.add_argument("--fed", type=int, default=1, help="tokens a row; default: %(default)s")
    parser.add_argument("--kernels", action="store_true", help="time the kernels of a pass one by one")
    arguments = parser.parse_args()
    if not torch.cuda.is_available() or importlib.util.find_spec("triton") is None:
        parser.error("expected an NVIDIA GPU, a torch that was built for it, and Triton; found not all of them")
    device = torch.device("cuda")
    config = SHAPES[arguments.shape].models[0]
    timed = random_pass(config, device, arguments.batch, arguments.fed, arguments.filled)
    floor = timed.floor(arguments.filled)
    print(f"floor at {BYTES_A_MICROSECOND / 1e6} TB/s: {floor:.0f} us", flush=True)
    for choice in CHOICES:
        try:
            line = time_tuning(choice, timed, device, floor)
        except Exception as error:  # of whatever kind: the next is to be timed all the same
            line = f"{type(error).__name__}: {str(error).splitlines()[:1]}"
        print(f"{choice}: {line}", flush=True)
    if arguments.kernels:
        for name, took in time_kernels(timed, device).items():
            print(f"kernel {name}: {took:.2f} us", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
