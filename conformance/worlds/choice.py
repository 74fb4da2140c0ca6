"""Which world a bundle draws: the one that --world names, or the one that its manifest tells."""

import argparse
import sys
from pathlib import Path

from mulo_sd.conformance.worlds.world import World, WorldError
from mulo_sd.engines.bundle import Bundle, Manifest
from mulo_sd.engines.commands.demo_bundle import BUNDLE_HELP, ready_bundle
from mulo_sd.engines.files.paths import user_path

DEMO, CAPTIONED = "demo", "captioned"  # families of bundles
NAMES = (DEMO, "pictograms")


def world_named(name: str) -> World:
    """Return a world; only the one that is asked for is loaded.

    Raises:
        WorldError: there is none of this name, or it is not installed.
    """
    try:
        if name == DEMO:
            from mulo_sd.conformance.worlds.demo import DemoWorld

            return DemoWorld()
        if name == "pictograms":
            from mulo_sd.conformance.worlds.pictograms import PictogramsWorld

            return PictogramsWorld()
    except ModuleNotFoundError as error:
        raise WorldError(
            f'world {name}: {error.name} is not installed; install it with `pip install "mulo-sd[demo,captions]"`'
        ) from None
    raise WorldError(f"world: expected one of {', '.join(NAMES)}, got {name!r:.80}")


def _told_by(manifest: Manifest) -> str | None:
    """Return the world that a manifest tells: of captions a bundle's name does, as "mulo-sd pictograms"."""
    family: str = manifest.family
    if family != CAPTIONED:
        return family if family == DEMO else None
    last = manifest.name.split()[-1:]
    return last[0] if last and last[0] in NAMES and last[0] != DEMO else None


def world_of(bundle: Bundle, named: str | None = None) -> World | None:
    """Return the world that a bundle draws; None where it is no world of ours.

    Args:
        bundle: Opened.
        named: By --world; None lets the manifest tell.

    Raises:
        WorldError: the bundle is of another family than the named world.
    """
    manifest = bundle.manifest
    name = named or _told_by(manifest)
    if name is None:
        return None
    world = world_named(name)
    if world.family != manifest.family:
        raise WorldError(
            f"--world: expected a bundle of the family {world.family} for {name}, got {manifest.family} in "
            f"{bundle.path}; give its own with --bundle"
        )
    return world


def sure_world_of(bundle: Bundle, named: str | None = None) -> World:
    """Return the world that a bundle draws.

    Raises:
        WorldError: the bundle is of another family than the named world, or draws no world of ours.
    """
    world = world_of(bundle, named)
    if world is None:
        raise WorldError(
            f"{bundle.path}: expected a bundle of the world {' or '.join(NAMES)}, got {bundle.manifest.name!r:.80}; "
            "give one with --bundle, or say with --world which it draws"
        )
    return world


def add_world_argument(parser: argparse.ArgumentParser) -> None:
    """Add --world."""
    parser.add_argument("--world", choices=NAMES, help="whose prompts and evaluator; default: what the bundle draws")


def add_world_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --world, and --bundle, which then may be left out."""
    add_world_argument(parser)
    parser.add_argument("--bundle", type=user_path, help=f"{BUNDLE_HELP}; default: the world's, or the demo's")


def asked_bundle(arguments: argparse.Namespace) -> Path:
    """Return the bundle that the options ask for; one that goes by a name is built where there is none.

    Raises:
        BundleError: it cannot be built.
    """
    named = arguments.world and Path(arguments.world)
    return ready_bundle(arguments.bundle or named, "ort", lambda line: print(line, file=sys.stderr))


def folder_of(out: Path, name: str) -> Path:
    """Return where a world's rows and reports lie: the demo's in the folder itself, others' each in one inside it."""
    return out if name == DEMO else out / name
