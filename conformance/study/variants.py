"""What the study decodes: variants of the bundle's settings, by section.

A variant may stand in several sections; what is decoded alike is drawn once (`identity` tells).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from mulo_sd import engines

TAUS = (0.05, 0.2, 0.5)
RADII = (0, 1, 2, 3, 4, 5, 32)
ANCHORS = (0.0, 2.0, 4.0, 8.0, 16.0, 32.0)
PAPER_ANCHOR, OUR_ANCHOR, OUR_TAU = 0.0, 8.0, 0.2
NEIGHBOURS = (1, 4, 16, 64)
ZIPAR_WINDOWS = (1, 2, 3, 4, 5, 6, 8, 16)
ADAPTIVE_WINDOWS = (1, 2, 3, 4)
WINDOWS = (1, 2, 4, 8, None)
COMMON_WINDOWS = (1, 2, 3, 4)
DRAFT_ROWS = (1, 2, 4, 8)
SWEEP_WIDTHS = (4, 8, 16, 32, 64, 256, None)
SWEEP_LIMITS = (1, 2, 4, 6, 8, 12, None)
DRAFT_LIMITS = (2, 4, 6, 10, None)
Chain = tuple[int, ...]
RATIO_2: Chain = (1,)
CHAINS: tuple[Chain, ...] = (RATIO_2, (2,), (1, 2))
ACCEPT_ALL: Mapping[str, Any] = {"tau": 0.0}
# One token a pass: the control of everything, whatever an engine would choose.
ONE_BY_ONE: Mapping[str, Any] = {"mode": "ar", "sweep_width": 1}
BY_SWEEPS: Mapping[str, Any] = {
    "mode": "parallel",
    "draft_by": "sweeps",
    "resample_by": "sweeps",
    "sweep_width": None,
    "radius": 1,
    "anchor": 16.0,
}

AR, DEFAULT, ACCEPTED = "AR", "default", "everything accepted"
# The finest draft that is to be had for the default's passes: what else they could have bought.
FINE_ACCEPTED = "drafters 1, draft window 6, accepted"
OTHER_SEEDS = "AR, other seeds"
# The demo's preset "passes"; the same with no limit; and what the passes of either could have bought.
FEW_PASSES, NO_LIMIT = "sweeps, few passes", "sweeps, no limit"
SWEEPS_ACCEPTED = "draft by sweeps, accepted"
FINE_LIMITED = "drafters 1, draft by 20 sweeps, accepted"
FINE_BY_SWEEPS = "drafters 1, draft by sweeps, accepted"
# AR's very images, by sweeps, where many of them are wanted.
AR_BY_SWEEPS = "AR by sweeps, width 16"
ORACLE_DEFAULT, ORACLE_ACCEPTED = "oracle, default", "oracle, everything accepted"


@dataclass(frozen=True)
class Variant:
    """A way to decode.

    Attributes:
        name: Unique in its section.
        section: The table it stands in.
        settings: What differs from the bundle's settings.
        oracle: Whether the real scene's tokens replace those of the coarsest drafter.
        other_seeds: Whether every prompt is drawn with another seed: the noise floor of every comparison.
    """

    name: str
    section: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    oracle: bool = False
    other_seeds: bool = False


# From 8 x 8 tokens straight to 32 x 32, a resize filter cannot tell a shape: docs/up_samplers.md.
FAR_UP: Mapping[Chain, Mapping[str, Any]] = {(1,): {}, (2,): {"up_sampler": "latent"}, (1, 2): {}}


def zipar_name(window: int) -> str:
    """Return the name of the ZipAR control with a window."""
    return f"ZipAR, window {window}"


def chain_name(drafters: Chain) -> str:
    """Return a chain of drafters in words: models by number, the target's neighbour first."""
    return f"drafters {','.join(map(str, drafters))}"


def _window_name(window: int | None) -> str:
    return "infinite" if window is None else str(window)


def _controls(section: str) -> list[Variant]:
    listed = [
        Variant(AR, section, ONE_BY_ONE),
        Variant(OTHER_SEEDS, section, ONE_BY_ONE, other_seeds=True),
        Variant(DEFAULT, section),
        Variant(ACCEPTED, section, ACCEPT_ALL),
        Variant(FINE_ACCEPTED, section, {"drafters": RATIO_2, "draft_window": 6, **ACCEPT_ALL}),
        Variant(ORACLE_DEFAULT, section, oracle=True),
        Variant(ORACLE_ACCEPTED, section, ACCEPT_ALL, oracle=True),
    ]
    for adaptive in (False, True):
        for window in ADAPTIVE_WINDOWS if adaptive else ZIPAR_WINDOWS:
            settings = {"mode": "zipar", "window": window, "adaptive_window": adaptive}
            listed.append(Variant(zipar_name(window) + (", adaptive" if adaptive else ""), section, settings))
    return listed


def _up_samplers(section: str) -> list[Variant]:
    return [
        Variant(
            f"{up_sampler}, {chain_name(drafters)}{suffix}",
            section,
            {"up_sampler": up_sampler, "drafters": drafters, **changes},
        )
        for up_sampler in ("bicubic", "bilinear", "nearest", "latent")
        for drafters in ((1,), (2,))
        for suffix, changes in ((", accepted", ACCEPT_ALL), ("", {}))
    ]


def _neighbours(section: str) -> list[Variant]:
    return [
        Variant(f"neighbours {count}, tau {tau:g}", section, {"neighbours": count, "tau": tau})
        for count in NEIGHBOURS
        for tau in TAUS
    ]


def _radius(section: str) -> list[Variant]:
    # An island as large as the grid is ZipAR: at the default's narrow window that alone would decide the score.
    return [
        Variant(
            f"radius {radius}, tau {tau:g}, anchor {anchor:g}",
            section,
            {"radius": radius, "tau": tau, "anchor": anchor, "island_window": 4},
        )
        for anchor, taus in ((PAPER_ANCHOR, TAUS), (OUR_ANCHOR, (OUR_TAU,)))
        for radius in RADII
        for tau in taus
    ]


def _schedule(section: str) -> list[Variant]:
    listed = [Variant("serial", section, {"mode": "serial"})]
    listed += [
        Variant(f"parallel, islands {'on' if islands else 'off'}", section, {"mode": "parallel", "islands": islands})
        for islands in (False, True)
    ]
    listed += [
        Variant(
            f"parallel, {name.replace('_', ' ')} {_window_name(window)}", section, {"mode": "parallel", name: window}
        )
        for name in ("island_window", "draft_window")
        for window in WINDOWS
    ]
    return listed


def _cascade(section: str) -> list[Variant]:
    kinds: tuple[tuple[str, Mapping[str, Any], bool], ...] = (
        ("", {}, False),
        (", accepted", ACCEPT_ALL, False),
        (", oracle", {}, True),
    )
    return [
        Variant(chain_name(drafters) + suffix, section, {"drafters": drafters, **FAR_UP[drafters], **changes}, oracle)
        for drafters in CHAINS
        for suffix, changes, oracle in kinds
    ]


def _serial(section: str) -> list[Variant]:
    changes: dict[str, dict[str, Any]] = {
        "serial": {},
        "serial, refresh": {"refresh": True},
        "serial, accept on raw": {"accept_on": "raw"},
    }
    changes |= {f"serial, look-ahead {rows}": {"look_ahead": rows} for rows in (0, 1, 2)}
    changes |= {f"serial, draft rows {rows}": {"draft_rows": rows} for rows in DRAFT_ROWS}
    changes |= {f"serial, {name} down": {"down_sampler": name} for name in ("bicubic", "latent")}
    return [Variant(name, section, {"mode": "serial", **change}) for name, change in changes.items()]


def _entropy_radius(section: str) -> list[Variant]:
    fixed = [Variant(f"radius {radius}", section, {"radius": radius}) for radius in (1, 2, 3, 4, 5)]
    return fixed + [
        Variant(f"radius up to 5, {nats:g} nats a cell", section, {"radius": 5, "radius_nats": nats})
        for nats in (0.25, 0.5, 1.0, 2.0)
    ]


def _exact(section: str) -> list[Variant]:
    """AR's own image by sweeps: widths, first guesses, and MuLo-SD's draft as the first guess."""
    listed = [
        Variant(f"AR by sweeps, width {width_name(width)}", section, {"mode": "ar", "sweep_width": width})
        for width in SWEEP_WIDTHS
    ]
    listed += [
        Variant(
            f"AR by sweeps, width 64, first guess {guess}",
            section,
            {"mode": "ar", "sweep_width": 64, "first_guess": guess},
        )
        for guess in ("left", "opening")
    ]
    listed += [
        Variant(f"exact, width 64, {chain_name(drafters)}", section, _exactly(drafters))
        for drafters in (RATIO_2, (1, 2))
    ]
    return listed


def _exactly(drafters: Chain) -> dict[str, Any]:
    return {"mode": "exact", "sweep_width": 64, "drafters": drafters, "draft_by": "sweeps", "resample_by": "sweeps"}


def width_name(width: int | None) -> str:
    """Return a width of sweeps in words."""
    return "all" if width is None else str(width)


def _limit_name(limit: int | None) -> str:
    return "no limit" if limit is None else f"limit {limit}"


def _sweeps(section: str) -> list[Variant]:
    """MODE-PARALLEL by sweeps: what it claims, what its passes could have bought, limits, widths, radii and chains."""
    listed = [
        Variant(FEW_PASSES, section, {**BY_SWEEPS, "sweeps": 7, "draft_sweeps": 6}),
        Variant(NO_LIMIT, section, BY_SWEEPS),
        Variant(SWEEPS_ACCEPTED, section, {**BY_SWEEPS, **ACCEPT_ALL}),
        Variant(FINE_LIMITED, section, {**BY_SWEEPS, **ACCEPT_ALL, "drafters": RATIO_2, "draft_sweeps": 20}),
        Variant(FINE_BY_SWEEPS, section, {**BY_SWEEPS, **ACCEPT_ALL, "drafters": RATIO_2}),
    ]
    listed += [
        Variant(
            f"islands: {_limit_name(limit)}, draft: limit 6", section, {**BY_SWEEPS, "sweeps": limit, "draft_sweeps": 6}
        )
        for limit in SWEEP_LIMITS
    ]
    listed += [
        Variant(
            f"islands: limit 7, draft: {_limit_name(limit)}", section, {**BY_SWEEPS, "sweeps": 7, "draft_sweeps": limit}
        )
        for limit in DRAFT_LIMITS
    ]
    listed += [
        Variant(f"no limit, width {width}", section, {**BY_SWEEPS, "sweep_width": width}) for width in (4, 8, 16, 32)
    ]
    listed += [
        Variant(f"limit 7 and 6, radius {radius}, anchor {anchor:g}", section, _near(radius, anchor))
        for radius, anchor in ((0, 16.0), (2, 16.0), (1, 0.0), (1, 8.0), (1, 32.0))
    ]
    listed += [
        Variant(
            f"limit 7 and 6, {chain_name(drafters)}",
            section,
            {**BY_SWEEPS, "sweeps": 7, "draft_sweeps": 6, "drafters": drafters, **FAR_UP[drafters]},
        )
        for drafters in CHAINS
    ]
    listed.append(Variant("limit 7, draft by windows", section, {**BY_SWEEPS, "sweeps": 7, "draft_by": "windows"}))
    return listed


def _near(radius: int, anchor: float) -> dict[str, Any]:
    return {**BY_SWEEPS, "sweeps": 7, "draft_sweeps": 6, "radius": radius, "anchor": anchor}


def _anchor(section: str) -> list[Variant]:
    return [Variant(f"anchor {anchor:g}, radius 2", section, {"radius": 2, "anchor": anchor}) for anchor in ANCHORS]


def _windows(section: str) -> list[Variant]:
    """Every chain at fewer and fewer passes: one window for the draft and for the islands."""
    return [
        Variant(
            f"window {window}, {chain_name(drafters)}",
            section,
            {"drafters": drafters, "draft_window": window, "island_window": window, **FAR_UP[drafters]},
        )
        for window in COMMON_WINDOWS
        for drafters in CHAINS
    ]


SECTIONS: Mapping[str, Callable[[str], list[Variant]]] = {
    "controls": _controls,
    "up-samplers": _up_samplers,
    "neighbours": _neighbours,
    "radius": _radius,
    "schedule": _schedule,
    "windows": _windows,
    "cascade": _cascade,
    "serial": _serial,
    "entropy-radius": _entropy_radius,
    "exact": _exact,
    "anchor": _anchor,
    "sweeps": _sweeps,
}


def variants_of(sections: list[str] | None = None) -> list[Variant]:
    """Return the variants of some sections, or of all."""
    return [item for name in sections or SECTIONS for item in SECTIONS[name](name)]


def identity(item: Variant, pipeline: engines.Pipeline) -> str:
    """Return what names a variant's images: a digest of all that they depend on, and of nothing else.

    AR depends neither on tau nor on a drafter: another default or a drafter trained anew leaves its images,
    the dearest of the study, as they are.

    Raises:
        SettingsError: the bundle does not hold what the variant asks for.
    """
    settings = pipeline.settings(**item.settings)
    manifest = pipeline.bundle.manifest
    fields = settings.model_dump()
    read = fields if settings.decoding.drafts else {name: fields[name] for name in settings.decoding.reads}
    weights = [manifest.models[number].weights_sha256 for number in settings.model_numbers]
    if settings.decoding.drafts and "latent" in (settings.up_sampler, settings.down_sampler):
        weights += [digest for _, digest in sorted(manifest.latent_sha256.items())]
    content = [read, item.oracle, item.other_seeds, weights, manifest.tokenizer_sha256]
    return sha256(json.dumps([*content, manifest.precision], sort_keys=True).encode()).hexdigest()[:16]
