"""python -m engines.generate "two red circles" --out circles.png: draw an image from a prompt."""

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mulo_sd.engines.backends import BackendError
from mulo_sd.engines.bundle import BundleError
from mulo_sd.engines.commands.command_line import INTERRUPTED, UNUSABLE, command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.commands.demo_bundle import bundle_folder, shipped_name
from mulo_sd.engines.commands.generate_arguments import add_arguments
from mulo_sd.engines.commands.layouts import LayoutError, PromptsError
from mulo_sd.engines.commands.overlay import draw_overlay
from mulo_sd.engines.commands.replay import Replay
from mulo_sd.engines.commands.setting_arguments import (
    leave_out_unread,
    settings_from_arguments,
)
from mulo_sd.engines.commands.storyboard import draw_storyboard
from mulo_sd.engines.condition import ConditionError
from mulo_sd.engines.conditions import Described, save_condition
from mulo_sd.engines.files.whole_files import check_writable, write_whole
from mulo_sd.engines.generate_many import generate_many, open_pipeline, refuse_many_prompts
from mulo_sd.engines.numbers import seed_number, thread_count
from mulo_sd.engines.prompts import PlanError, PromptError, load_plan, make_plan, parse, save_plan
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.service.result import Result
from mulo_sd.engines.settings import SettingsError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


class OutputError(ValueError):
    """An output that cannot be written; its message is one line for the user."""


def _arguments() -> argparse.Namespace:
    parser = command_parser("engines.generate", "Draw an image from a prompt, or many images from a file of prompts.")
    add_arguments(parser)
    return parser.parse_args()


def _check_output(path: Path | None, suffixes: tuple[str, ...]) -> None:
    if path is None:
        return
    if path.suffix.lower() not in suffixes:
        raise OutputError(f"{path}: expected a file name that ends in {' or '.join(suffixes)}, got {path.suffix!r}")
    try:
        check_writable(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot write it: {error.strerror or error}") from None


def _check_outputs_are_apart(arguments: argparse.Namespace) -> None:
    """Check that no output overwrites another output, an input, or a file of the bundle.

    Raises:
        OutputError: an output does.
    """
    inputs = [
        path.resolve() for path in (arguments.plan, arguments.condition, arguments.settings_file) if path is not None
    ]
    bundle = bundle_folder(arguments.bundle).resolve()
    taken: dict[Path, str] = {}
    for name in ("out", "overlay", "storyboard", "viewer", "trace", "save_plan", "save_condition"):
        path: Path | None = getattr(arguments, name)
        if path is None:
            continue
        resolved, option = path.resolve(), f"--{name.replace('_', '-')}"
        if resolved in taken:
            raise OutputError(
                f"{path}: expected another file for each output, got one for {taken[resolved]} and {option}"
            )
        if resolved in inputs or bundle in resolved.parents:
            kind = "an input" if resolved in inputs else "in the bundle"
            raise OutputError(f"{path}: expected another file for {option}, got one that is {kind}")
        taken[resolved] = option


def _write(path: Path, write: Callable[[Path], Any]) -> None:
    try:
        write_whole(path, write)
    except OSError as error:
        raise OutputError(f"{path}: cannot write it: {error.strerror or error}") from None


def _write_json(content: dict[str, Any], path: Path) -> None:
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _generate(arguments: argparse.Namespace, console: Console, replay: Replay) -> tuple[Pipeline, Described, Result]:
    _check_output(arguments.out, IMAGE_SUFFIXES)
    _check_output(arguments.overlay, (".png",))
    _check_output(arguments.storyboard, (".png",))
    _check_output(arguments.viewer, (".html",))
    _check_output(arguments.trace, (".json",))
    _check_output(arguments.save_plan, (".json",))
    thread_count(arguments.threads)
    _check_output(arguments.save_condition, (".npz",))
    _check_outputs_are_apart(arguments)
    if (arguments.prompt is None) == (arguments.condition is None):
        got = "neither" if arguments.prompt is None else "both"
        raise PromptError(f"prompt: expected a prompt or --condition, got {got}; give one")
    # Errors of the request come before a bundle is built or opened for it.
    seed_number(arguments.seed)
    named = settings_from_arguments(arguments)
    plan = load_plan(arguments.plan) if arguments.plan else None
    if shipped_name(arguments.bundle) == "demo" and arguments.prompt is not None:
        parsed = parse(arguments.prompt)
        plan = make_plan(parsed, arguments.seed) if plan is None else plan
    pipeline = open_pipeline(arguments, console)
    named = leave_out_unread(named, pipeline.settings(arguments.preset, **named))
    prompt = arguments.prompt if arguments.condition is None else pipeline.load_condition(arguments.condition)
    described = pipeline.describe(prompt, arguments.seed, plan)
    if described.note is not None:
        console.print(f"note: {described.note}", soft_wrap=True, highlight=False, markup=False)
    columns = (TextColumn("decoding"), BarColumn(), TextColumn("{task.percentage:.0f}%"), TimeElapsedColumn())
    # In a file a bar would leave an empty line.
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("")
        result = pipeline.generate(
            described.condition,
            seed=arguments.seed,
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
            preset=arguments.preset,
            **replay.hooks,
            **named,
        )
    replay.end()
    return pipeline, described, result


def _save(
    arguments: argparse.Namespace, pipeline: Pipeline, described: Described, result: Result, replay: Replay
) -> None:
    _write(arguments.out, result.image.save)
    if arguments.save_condition:
        _write(arguments.save_condition, partial(save_condition, described.condition))
    if arguments.overlay:
        _write(arguments.overlay, draw_overlay(result.image, result.trace).save)
    if arguments.storyboard:
        storyboard = draw_storyboard(result.trace, result.tokens, pipeline.image_from_tokens)
        _write(arguments.storyboard, storyboard.save)
    if arguments.viewer:
        _write(arguments.viewer, partial(replay.save, pipeline, arguments.prompt, arguments.seed, result))
    if arguments.trace:
        content = {
            "prompt": arguments.prompt,
            "seed": arguments.seed,
            "settings": result.settings.model_dump(),
            "plan": described.plan.model_dump() if described.plan else None,
            "stats": vars(result.stats),
            "tokens": result.tokens.tolist(),
            **result.trace.to_json(),
        }
        _write(arguments.trace, lambda path: _write_json(content, path))
    if arguments.save_plan and described.plan:
        _write(arguments.save_plan, partial(save_plan, described.plan))


@command
def main() -> int:
    """Draw a prompt, or a file of prompts, and print what it cost.

    Returns:
        0; 2 where the request cannot be used and nothing was drawn; 3 where images of a run are missing; 130 after an
        interrupt.
    """
    arguments = _arguments()
    console = Console(stderr=True)
    try:
        if arguments.prompts is not None:
            return generate_many(arguments, console)
        refuse_many_prompts(arguments)
        replay = Replay(arguments.viewer is not None)
        pipeline, described, result = _generate(arguments, console, replay)
        _save(arguments, pipeline, described, result, replay)
    except PromptsError as error:
        for line in error.lines():
            print(f"error: {line}", file=sys.stderr)
        return UNUSABLE
    except (
        *(PromptError, PlanError, ConditionError, SettingsError),
        *(BundleError, BackendError, OutputError, LayoutError),
    ) as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        print("error: interrupted; nothing was written", file=sys.stderr)
        return INTERRUPTED
    stats, settings = result.stats, result.settings
    print(f"{arguments.out}: {result.image.width} x {result.image.height} pixels, mode {settings.mode}")
    print(f"  passes (NFE): target {stats.nfe_target}, drafter {stats.nfe_drafter}")
    if settings.decoding.drafts:
        print(f"  draft tokens accepted: {stats.acceptance_rate:.1%}, resampled: {stats.resampled_rate:.1%}")
    if settings.decoding.is_speculative:
        print(f"  tokens a pass of the target: {result.tokens.size / stats.nfe_target:.2f}")
    if stats.sweeps:
        print(f"  sweeps of the target: {stats.sweeps}, of at most {stats.widest_sweep} cells")
    print(f"  time: {stats.seconds:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
