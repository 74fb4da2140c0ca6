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
from mulo_sd.engines.commands.command_line import INTERRUPTED, UNUSABLE, command, program
from mulo_sd.engines.commands.demo_bundle import demo_bundle_path, ready_demo_bundle
from mulo_sd.engines.commands.draw_many import Run
from mulo_sd.engines.commands.generate_arguments import add_arguments
from mulo_sd.engines.commands.layouts import MAX_LISTED, LayoutError, PromptsError, read_tasks
from mulo_sd.engines.commands.overlay import draw_overlay
from mulo_sd.engines.commands.replay import Replay
from mulo_sd.engines.commands.run_progress import shown_progress
from mulo_sd.engines.commands.setting_arguments import (
    leave_out_unread,
    settings_from_arguments,
)
from mulo_sd.engines.commands.shares import share_from_text
from mulo_sd.engines.commands.storyboard import draw_storyboard
from mulo_sd.engines.condition import ConditionError
from mulo_sd.engines.conditions import Described, save_condition
from mulo_sd.engines.files.whole_files import check_writable, write_whole
from mulo_sd.engines.numbers import seed_number, thread_count, whole_number
from mulo_sd.engines.prompts import PlanError, PromptError, load_plan, make_plan, parse, save_plan
from mulo_sd.engines.service.load import load
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.service.result import Result
from mulo_sd.engines.service.session import MAX_AT_ONCE
from mulo_sd.engines.settings import SettingsError

IMAGES_MISSING = 3  # the exit status of a run that could not draw some of its images
# What belongs to one image, and makes no sense for a file of prompts.
SINGLE_IMAGE_ARGUMENTS = (
    "prompt",
    "condition",
    "save_condition",
    "plan",
    "save_plan",
    "overlay",
    "storyboard",
    "viewer",
    "trace",
)
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


class OutputError(ValueError):
    """An output that cannot be written; its message is one line for the user."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=program("engines.generate"),
        description="Draw an image from a prompt, or many images from a file of prompts.",
    )
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
    bundle = (arguments.bundle or demo_bundle_path()).resolve()
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


def _open(arguments: argparse.Namespace, console: Console) -> Pipeline:
    path = arguments.bundle or ready_demo_bundle(arguments.backend, console.print)
    return load(path, arguments.backend, arguments.threads, arguments.text_model)


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
    if arguments.bundle is None and arguments.prompt is not None:
        parsed = parse(arguments.prompt)
        plan = make_plan(parsed, arguments.seed) if plan is None else plan
    pipeline = _open(arguments, console)
    named = leave_out_unread(named, pipeline.settings(arguments.preset, **named))
    prompt = arguments.prompt if arguments.condition is None else pipeline.load_condition(arguments.condition)
    described = pipeline.describe(prompt, arguments.seed, plan)
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


def _generate_many(arguments: argparse.Namespace, console: Console) -> int:
    """Draw a file of prompts into a folder and return the exit status."""
    for name in SINGLE_IMAGE_ARGUMENTS:
        if getattr(arguments, name) is not None:
            option = name if name == "prompt" else f"--{name.replace('_', '-')}"
            raise LayoutError(f"{option}: expected --prompts or {option}, got both; leave one out")
    seed_number(arguments.seed)
    thread_count(arguments.threads)
    batch = 1 if arguments.batch is None else whole_number("batch", arguments.batch, 1, MAX_AT_ONCE)
    share = share_from_text(arguments.shard)
    named = settings_from_arguments(arguments)
    tasks = read_tasks(arguments.layout or "plain", arguments.prompts, arguments.samples)
    pipeline = _open(arguments, console)
    settings = pipeline.settings(arguments.preset, **named)
    settings = pipeline.settings(arguments.preset, **leave_out_unread(named, settings))
    run = Run(pipeline, settings, arguments.seed, tasks, arguments.out, share)
    of_share = "" if arguments.shard is None else f" of share {share}"
    try:
        with shown_progress(console, run.total) as progress:
            drawn = run.draw(progress, batch)
    except KeyboardInterrupt:
        done = f"{run.done_when_interrupted} of {run.total} images{of_share} are in {arguments.out}"
        print(f"error: interrupted; {done}; run the same command to go on", file=sys.stderr)
        return INTERRUPTED
    for failure in run.failures[:MAX_LISTED]:
        print(f"error: {failure}", file=sys.stderr)
    if len(run.failures) > MAX_LISTED:
        print(f"error: and {len(run.failures) - MAX_LISTED} more images", file=sys.stderr)
    missing = f", {len(run.failures)} missing" if run.failures else ""
    print(f"{arguments.out}: {run.total} images{of_share} of {len(tasks)} prompts, {drawn} drawn now{missing}")
    return IMAGES_MISSING if run.failures else 0


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
            return _generate_many(arguments, console)
        for name in ("layout", "samples", "batch", "shard"):
            if getattr(arguments, name) is not None:
                raise LayoutError(f"--{name}: expected --prompts beside it, got none; give a file of prompts")
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
