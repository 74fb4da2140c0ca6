"""The settings of a decode as command-line options, under the names that docs/semantics.md gives them."""

import argparse
from typing import Any, get_args

from mulo_sd.engines.settings import DownSampler, UpSampler

# Options that leave no trace where they are not given: None is a window's infinity.
_ABSENT = argparse.SUPPRESS
_HELP = {
    "tau": (float, "pooled probability from which a draft token is accepted; above 1 rejects every one"),
    "radius": (int, "how far around a rejected token all are resampled, in cells"),
    "radius-nats": (float, "nats of the target's entropy for each cell of radius; 0 is the same radius everywhere"),
    "anchor": (float, "how strongly resampled tokens are drawn towards their draft, in nats; 0 is not at all"),
    "neighbours": (int, "codes near a draft token over which the target's probability is pooled"),
    "temperature": (float, "0 is greedy"),
    "top-k": (int, "sample from the k most likely codes; 0 is all"),
    "top-p": (float, "sample from the most likely codes that sum to this; 1 is all"),
    "draft-rows": (int, "rows that the first drafter drafts a cycle (serial, exact)"),
    "look-ahead": (int, "further rows drafted as context alone (serial, exact)"),
}
_WINDOWS = {
    "window": "ZipAR window of the target (zipar)",
    "draft-window": "ZipAR window of the last drafter, in every mode that drafts",
    "island-window": "ZipAR window of resampling (parallel)",
    "exact-window": "cells that a verification scores at most (exact)",
}


def _window(text: str) -> int | None:
    try:
        return None if text == "infinite" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a whole number or 'infinite', got {text!r}") from None


def _drafters(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers of models, such as 1 or 1,2, got {text!r}") from None


def add_setting_arguments(parser: argparse.ArgumentParser) -> None:
    """Add an option for every setting but the mode; those that are not given keep the bundle's value."""
    group = parser.add_argument_group("settings", "docs/semantics.md explains each; default: the bundle's")
    group.add_argument("--guidance", type=float, dest="guidance_scale", default=_ABSENT, help="scale; 1 is none")
    for name, (kind, text) in _HELP.items():
        group.add_argument(f"--{name}", type=kind, default=_ABSENT, help=text)
    for name, text in _WINDOWS.items():
        group.add_argument(f"--{name}", type=_window, default=_ABSENT, help=f"{text}; a number or infinite")
    group.add_argument(
        "--drafters",
        type=_drafters,
        default=_ABSENT,
        help="models that draft, next to the target first: 1, 2 (a coarser grid), or 1,2 (a cascade)",
    )
    group.add_argument(
        "--up-sampler",
        choices=get_args(UpSampler),
        default=_ABSENT,
        help="of drafts: a resize filter, or a trained network",
    )
    group.add_argument(
        "--down-sampler",
        choices=get_args(DownSampler),
        default=_ABSENT,
        help="of decided rows, for the drafters (serial, exact)",
    )
    group.add_argument(
        "--accept-on",
        choices=("processed", "raw"),
        default=_ABSENT,
        help="tau is compared with probabilities after temperature and filters (processed), or before (raw)",
    )
    for name, text in (
        ("refresh", "a verification feeds the previous window again (serial)"),
        ("islands", "islands are resampled at the same time (parallel)"),
        ("adaptive-window", "rows open when their first token is settled (zipar)"),
    ):
        group.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, default=_ABSENT, help=text)


def settings_from_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given, by name."""
    names = ["guidance_scale", "drafters", "up_sampler", "down_sampler", "accept_on"]
    names += ["refresh", "islands", "adaptive_window"]
    names += [name.replace("-", "_") for name in (*_HELP, *_WINDOWS)]
    return {name: getattr(arguments, name) for name in names if hasattr(arguments, name)}
