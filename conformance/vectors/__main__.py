"""python -m conformance.vectors write|check: test vectors for implementations in any language, and their answers."""

import argparse
import sys
from typing import Any

import torch
from rich.console import Console

from mulo_sd.conformance.report import versions
from mulo_sd.conformance.subject import SubjectError
from mulo_sd.conformance.targets import describe, open_target, preset_target
from mulo_sd.conformance.vectors.acceptance_stages import ACCEPTANCE_STAGES
from mulo_sd.conformance.vectors.case import Stage
from mulo_sd.conformance.vectors.correction_stages import CORRECTION_STAGES
from mulo_sd.conformance.vectors.folder import VectorsError, compare, read_arrays, read_cases, write_vectors
from mulo_sd.conformance.vectors.function_stages import FUNCTION_STAGES
from mulo_sd.conformance.vectors.method_stages import method_stage
from mulo_sd.conformance.vectors.model_stages import model_stages
from mulo_sd.conformance.vectors.sweep_stages import SWEEP_STAGES
from mulo_sd.conformance.vectors.tree_stages import TREE_STAGES
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.files.paths import user_path

SEED = 2601
MAX_NAMED = 20


def _arguments() -> argparse.Namespace:
    parser = command_parser("conformance.vectors", __doc__)
    commands = parser.add_subparsers(dest="command", required=True, help="what to do")
    write = commands.add_parser("write", help="write cases of every stage: manifest.json, inputs and answers")
    write.add_argument("--out", type=user_path, required=True, help="a new folder")
    write.add_argument("--functions-only", action="store_true", help="without the stages that need models")
    check = commands.add_parser("check", help="hold a folder of answers against the right ones")
    check.add_argument("--vectors", type=user_path, required=True, help="what `write` wrote")
    check.add_argument(
        "--answers", type=user_path, required=True, help="your files: STAGE/CASE.npz, an array for each output"
    )
    check.add_argument("--stages", nargs="+", metavar="STAGE", help="only these; default: all")
    return parser.parse_args()


def _write(arguments: argparse.Namespace) -> str:
    stages: tuple[Stage, ...] = (
        *FUNCTION_STAGES,
        *SWEEP_STAGES,
        *ACCEPTANCE_STAGES,
        *CORRECTION_STAGES,
        *TREE_STAGES,
    )
    origin: dict[str, Any] = {"versions": versions()}
    if not arguments.functions_only:
        target = preset_target("minimal", "fp32")
        subject = open_target(target)
        graphs = subject.pipeline.bundle.manifest.graphs
        tolerance = max(graphs[entry.graph].tolerance for entry in subject.pipeline.bundle.manifest.models)
        stages += (*model_stages(subject.models, tolerance), method_stage(subject.models))
        origin["bundle"] = describe(target)
    with torch.inference_mode():
        count = write_vectors(arguments.out, stages, origin, SEED)
    return f"{arguments.out}: {count} cases of {len(stages)} stages"


def _check(arguments: argparse.Namespace, console: Console) -> int:
    cases = read_cases(arguments.vectors)
    known = list(dict.fromkeys(case.stage for case in cases))
    for name in arguments.stages or []:
        if name not in known:
            raise VectorsError(f"--stages: expected some of {', '.join(known)}; got {name!r:.40}")
    chosen = [case for case in cases if arguments.stages is None or case.stage in arguments.stages]
    if not chosen:
        raise VectorsError(f"{arguments.vectors}: expected cases, got none")
    if not arguments.answers.is_dir():
        raise VectorsError(f"--answers: expected a folder, found none at {arguments.answers}")
    wrong: dict[str, list[str]] = {stage: [] for stage in known}
    for case in chosen:
        expected = read_arrays(case.answers, case.answers_sha256)
        try:
            answers = read_arrays(arguments.answers / f"{case.name}.npz")
        except VectorsError as error:
            wrong[case.stage].append(str(error))
            continue
        differences = list(compare(case, answers, expected))
        wrong[case.stage] += [f"{case.name}: {line}" for line in differences]
    for stage in known:
        count = sum(case.stage == stage for case in chosen)
        if count:
            failed = len({line.partition(":")[0] for line in wrong[stage]})
            console.print(f"{stage}: {count - failed} of {count} cases right", highlight=False)
    lines = [line for differences in wrong.values() for line in differences]
    for line in lines[:MAX_NAMED]:
        console.print(f"  {line}", highlight=False, soft_wrap=True, markup=False)
    if len(lines) > MAX_NAMED:
        console.print(f"  and {len(lines) - MAX_NAMED} more", highlight=False)
    return 1 if lines else 0


@command
def main() -> int:
    """Write vectors, or check answers; 0 is right, 1 wrong, 2 a request that cannot be used."""
    arguments = _arguments()
    console = Console()
    torch.set_num_threads(1)
    try:
        if arguments.command == "check":
            return _check(arguments, console)
        console.print(_write(arguments), highlight=False, soft_wrap=True)
    except (VectorsError, SubjectError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
