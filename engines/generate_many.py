"""The half of `generate` that --prompts asks for: a file of prompts into a folder, from here or on a cluster."""

import argparse
import sys
from typing import TYPE_CHECKING

from rich.console import Console

from mulo_sd.engines.cluster.batch_options import ActorOptions, BatchOptions
from mulo_sd.engines.cluster.token import take_token
from mulo_sd.engines.commands.command_line import INTERRUPTED
from mulo_sd.engines.commands.demo_bundle import ready_bundle
from mulo_sd.engines.commands.draw_many import Run
from mulo_sd.engines.commands.layouts import MAX_LISTED, LayoutError, Task, read_tasks
from mulo_sd.engines.commands.run_progress import shown_progress
from mulo_sd.engines.commands.setting_arguments import leave_out_unread, settings_from_arguments
from mulo_sd.engines.commands.shares import Share, share_from_text
from mulo_sd.engines.numbers import seed_number, thread_count, whole_number
from mulo_sd.engines.service.load import load
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.service.session import MAX_AT_ONCE
from mulo_sd.engines.settings import Settings

if TYPE_CHECKING:
    from mulo_sd.engines.cluster.batch import ClusterRun

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
# What makes sense for a file of prompts alone, and on a cluster alone.
CLUSTER_ARGUMENTS = ("ray_address", "actors", "cpus_each", "gpus_each")
MANY_PROMPTS_ARGUMENTS = ("layout", "samples", "batch", "shard", "ray", *CLUSTER_ARGUMENTS)


def _option(name: str) -> str:
    return name if name == "prompt" else f"--{name.replace('_', '-')}"


def refuse_many_prompts(arguments: argparse.Namespace) -> None:
    """Check that nothing is asked for that a single image has not.

    Raises:
        LayoutError: something is.
    """
    for name in MANY_PROMPTS_ARGUMENTS:
        if getattr(arguments, name) is not None:
            raise LayoutError(f"{_option(name)}: expected --prompts beside it, got none; give a file of prompts")


def open_pipeline(arguments: argparse.Namespace, console: Console) -> Pipeline:
    """Load the bundle that is asked for; one that goes by a name is built where there is none."""
    path = ready_bundle(arguments.bundle, arguments.backend, console.print)
    # On a cluster it is the actors that need the backend: the machine of the command may have no GPU.
    backend = "ort" if arguments.ray else arguments.backend
    return load(path, backend, arguments.threads, arguments.text_model)


def _batch_options(arguments: argparse.Namespace) -> BatchOptions | None:
    """Return how a run is spread over a cluster; None without --ray."""
    named = {name: getattr(arguments, name) for name in CLUSTER_ARGUMENTS if getattr(arguments, name) is not None}
    if arguments.ray is None:
        for name in named:
            raise LayoutError(f"{_option(name)}: expected --ray beside it, got none")
        return None
    take_token(arguments.ray_address)
    import mulo_sd.engines.cluster.batch  # noqa: F401  # a missing extra is told before a bundle is built

    return BatchOptions(**named)


def _begin(
    arguments: argparse.Namespace,
    pipeline: Pipeline,
    settings: Settings,
    tasks: list[Task],
    share: Share,
    options: BatchOptions | None,
) -> "Run | ClusterRun":
    """Make the folder of the run, or go on with it."""
    if options is None:
        return Run(pipeline, settings, arguments.seed, tasks, arguments.out, share)
    from mulo_sd.engines.cluster.batch import ClusterRun  # the extra `ray`

    actor = ActorOptions(arguments.backend, arguments.threads, arguments.text_model)
    return ClusterRun(pipeline, settings, arguments.seed, tasks, arguments.out, share, options=options, actor=actor)


def generate_many(arguments: argparse.Namespace, console: Console) -> int:
    """Draw a file of prompts into a folder and return the exit status.

    Raises:
        Exception: the run cannot be begun, or ends early; one line for the user.
    """
    for name in SINGLE_IMAGE_ARGUMENTS:
        if getattr(arguments, name) is not None:
            raise LayoutError(f"{_option(name)}: expected --prompts or {_option(name)}, got both; leave one out")
    seed_number(arguments.seed)
    thread_count(arguments.threads)
    batch = 1 if arguments.batch is None else whole_number("batch", arguments.batch, 1, MAX_AT_ONCE)
    share = share_from_text(arguments.shard)
    options = _batch_options(arguments)
    named = settings_from_arguments(arguments)
    tasks = read_tasks(arguments.layout or "plain", arguments.prompts, arguments.samples)
    pipeline = open_pipeline(arguments, console)
    settings = pipeline.settings(arguments.preset, **named)
    settings = pipeline.settings(arguments.preset, **leave_out_unread(named, settings))
    run = _begin(arguments, pipeline, settings, tasks, share, options)
    of_share = "" if arguments.shard is None else f" of share {share}"
    try:
        with shown_progress(console, run.total) as progress:
            drawn = run.draw(progress, batch)
    except KeyboardInterrupt:
        done = f"{run.done_when_interrupted} of {run.total} images{of_share} are in {arguments.out}"
        print(f"error: interrupted; {done}; run the same command to go on", file=sys.stderr)
        return INTERRUPTED
    if run.deaths:
        print(f"note: actors died {run.deaths} times while they drew; others drew what they left", file=sys.stderr)
    for failure in run.failures[:MAX_LISTED]:
        print(f"error: {failure}", file=sys.stderr)
    if len(run.failures) > MAX_LISTED:
        print(f"error: and {len(run.failures) - MAX_LISTED} more images", file=sys.stderr)
    missing = f", {len(run.failures)} missing" if run.failures else ""
    print(f"{arguments.out}: {run.total} images{of_share} of {len(tasks)} prompts, {drawn} drawn now{missing}")
    return IMAGES_MISSING if run.failures else 0
