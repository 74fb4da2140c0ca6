"""python -m conformance.tools.measure_gpu --out DIR: what only a GPU shows, in one run; results: docs/performance.md.

Parts, each of which prints its lines as they come and writes them to DIR/PART.json: `check` (decodes on the GPU equal
the CPU's, in fused kernels and in torch's), `kernels` (passes of few tokens, by kind), `batch` (images a
second by how many are drawn at once), `tensorrt` (whether TensorRT for RTX runs here), `plans` (decodes of bundles by
their plans and on ONNX Runtime's CUDA provider equal the CPU's; start, memory, passes), `laws` (the conformance suite
on each backend). Without a GPU the parts go as far as they do: a rehearsal. The benchmark of published shapes is
another command: python -m conformance.bench --shape llamagen-xl-512 tar-lp-1024 --device cuda --precision fp16 --quick.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Callable

import torch

from mulo_sd.conformance.tools.gpu.decodes import check
from mulo_sd.conformance.tools.gpu.laws import laws
from mulo_sd.conformance.tools.gpu.passes import batch, kernels
from mulo_sd.conformance.tools.gpu.plans import plans
from mulo_sd.conformance.tools.gpu.report import Asked, Report
from mulo_sd.conformance.tools.gpu.tensorrt import tensorrt
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.files.paths import user_path
from mulo_sd.engines.numbers import whole_number

PARTS: dict[str, Callable[[Report, Asked], None]] = {
    "check": check,
    "kernels": kernels,
    "batch": batch,
    "tensorrt": tensorrt,
    "plans": plans,
    "laws": laws,
}


def run_parts(parts: list[str], arguments: argparse.Namespace, asked: Asked) -> int:
    """Run parts one after the other, whatever fails; return how many did."""
    failed = 0
    for part in parts:
        started, report = time.perf_counter(), Report(arguments.out, part)
        try:
            PARTS[part](report, asked)
        except Exception:  # of whatever kind: the other parts are to be measured all the same
            report.failures.append(part)
            traceback.print_exc()
        failed += bool(report.failures)
        print(f"{part}: {time.perf_counter() - started:.1f} s, {len(report.failures)} failed", flush=True)
    return failed


@command
def main() -> int:
    """Run the parts that are asked for; one that fails does not keep the next from running."""
    parser = command_parser("conformance.tools.measure_gpu", __doc__)
    parser.add_argument("--out", type=user_path, required=True, help="folder")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="default: all")
    parser.add_argument(
        "--bundle", type=user_path, action="append", default=[], help="with plans; default: the minimal preset's"
    )
    parser.add_argument("--prompts", type=int, default=4, help="that each mode of `plans` draws; default: %(default)s")
    parser.add_argument("--seconds", type=int, default=540, help="of the laws of a backend; default: %(default)s")
    arguments = parser.parse_args()
    try:
        prompts = whole_number("--prompts", arguments.prompts, 1, 1000)
        seconds = whole_number("--seconds", arguments.seconds, 1, 86_400)
    except ValueError as error:
        parser.error(str(error))
    arguments.out.mkdir(parents=True, exist_ok=True)
    has_gpu = torch.cuda.is_available()
    asked = Asked(tuple(arguments.bundle), prompts, "cuda" if has_gpu else "cpu", float(seconds))
    device = torch.cuda.get_device_name() if has_gpu else "no GPU: a rehearsal"
    print(f"torch {torch.__version__}, CUDA {torch.version.cuda}, {device}", flush=True)
    return 1 if run_parts(arguments.parts, arguments, asked) else 0


if __name__ == "__main__":
    sys.exit(main())
