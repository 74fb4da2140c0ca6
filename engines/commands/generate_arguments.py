"""The options of `mulo-sd generate`, by what they are for."""

import argparse

from mulo_sd.engines.commands.backend_argument import add_backend_argument
from mulo_sd.engines.commands.demo_bundle import BUNDLE_HELP
from mulo_sd.engines.commands.layouts import LAYOUTS
from mulo_sd.engines.commands.setting_arguments import add_setting_arguments
from mulo_sd.engines.files.paths import user_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the prompt and all options."""
    parser.add_argument(
        "prompt",
        nargs="?",
        help='of the demo "a red circle left of a blue square", say; of other models a caption, or a class',
    )
    parser.add_argument(
        "--out",
        type=user_path,
        required=True,
        help="image to write (PNG, JPEG or WebP); with --prompts the folder of images",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the noise; with --prompts the first image's, counting up; default: %(default)s",
    )
    _add_many_prompts(parser)
    _add_cluster(parser)
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="settings that the bundle keeps under a name (windows, passes); others change them",
    )
    add_setting_arguments(parser)
    _add_models(parser)
    _add_other_inputs(parser)
    _add_other_outputs(parser)


def _add_many_prompts(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("many prompts")
    group.add_argument(
        "--prompts",
        type=user_path,
        help="file or folder of many prompts, in the form of --layout; images that exist already are not drawn again",
    )
    group.add_argument(
        "--layout", choices=tuple(LAYOUTS), help="one prompt a line (plain), or the files of a scorer; default: plain"
    )
    group.add_argument("--batch", type=int, metavar="N", help="images drawn at once (--ray: by each actor); default: 1")
    group.add_argument(
        "--shard",
        metavar="K/N",
        help="draw the K-th of N shares of the images, 2/8 say, and leave the others to other processes; "
        "names and seeds are the whole run's",
    )
    group.add_argument("--samples", type=int, help="images of each prompt; default: what the scorer expects")


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("many prompts on a cluster", "Needs the extra `ray` (docs/cluster.md).")
    # None where it is not given, like the others.
    group.add_argument("--ray", action="store_const", const=True, help="draw by actors of a Ray cluster")
    group.add_argument(
        "--ray-address", metavar="ADDRESS", help="auto, or HOST:PORT of a running cluster; default: a new one here"
    )
    group.add_argument("--actors", type=int, metavar="N", help="processes that draw; default: as many as have room")
    group.add_argument("--cpus-each", type=float, metavar="N", help="CPUs of an actor, as Ray counts them; default: 1")
    group.add_argument("--gpus-each", type=float, metavar="N", help="GPUs of an actor, as Ray counts them; default: 0")


def _add_models(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--bundle",
        type=user_path,
        help=f"{BUNDLE_HELP}; default: demo",
    )
    add_backend_argument(parser)
    parser.add_argument(
        "--threads", type=int, help="CPU threads, for ort and your own backends; default: the runtime's choice"
    )
    parser.add_argument(
        "--text-model",
        metavar="NAME",
        help="folder or name of flan-t5-xl, or of Tar's language model; needs the extra `text`",
    )


def _add_other_inputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--condition",
        type=user_path,
        help="npz file of a condition, or of Tar's semantic ids, to draw instead of a prompt",
    )
    parser.add_argument("--plan", type=user_path, help="JSON file of a scene plan, which places the objects")


def _add_other_outputs(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("other files to write", "for one image")
    group.add_argument(
        "--save-condition", type=user_path, help="npz of the condition, for a machine without a text model"
    )
    group.add_argument("--save-plan", type=user_path, help="JSON of the scene plan, for editing")
    group.add_argument("--overlay", type=user_path, help="PNG of what became of every draft token")
    group.add_argument(
        "--storyboard", type=user_path, help="PNG of the decode step by step, from the draft to the result"
    )
    group.add_argument("--viewer", type=user_path, help="HTML page, in one file, that replays the decode step by step")
    group.add_argument("--trace", type=user_path, help="JSON of every pass and every decision")
