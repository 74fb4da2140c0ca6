"""What the study decodes: variants of the bundle's settings, by section.

A variant may stand in several sections; what is decoded alike is drawn once (`identity` tells).
"""

from collections.abc import Callable, Mapping
from typing import Any

from mulo_sd.conformance.study.sweeps import exact, sweeps
from mulo_sd.conformance.study.variant import ACCEPT_ALL, CHAINS, FAR_UP, RATIO_2, Variant, chain_name, zipar_name

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
# One token a pass: the control of everything, whatever an engine would choose.
ONE_BY_ONE: Mapping[str, Any] = {"mode": "ar", "sweep_width": 1}
# Said where windows are what varies: a bundle's default may be by sweeps.
BY_WINDOWS: Mapping[str, Any] = {"draft_by": "windows", "resample_by": "windows"}
AR, DEFAULT, ACCEPTED = "AR", "default", "everything accepted"
# The finest draft that is to be had for the default's passes: what else they could have bought.
FINE_ACCEPTED = "drafters 1, draft window 6, accepted"
OTHER_SEEDS = "AR, other seeds"
ORACLE_DEFAULT, ORACLE_ACCEPTED = "oracle, default", "oracle, everything accepted"


def _window_name(window: int | None) -> str:
    return "infinite" if window is None else str(window)


def _controls(section: str) -> list[Variant]:
    listed = [
        Variant(AR, section, ONE_BY_ONE),
        Variant(OTHER_SEEDS, section, ONE_BY_ONE, other_seeds=True),
        Variant(DEFAULT, section),
        Variant(ACCEPTED, section, ACCEPT_ALL),
        Variant(FINE_ACCEPTED, section, {**BY_WINDOWS, "drafters": RATIO_2, "draft_window": 6, **ACCEPT_ALL}),
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
            {**BY_WINDOWS, "radius": radius, "tau": tau, "anchor": anchor, "island_window": 4},
        )
        for anchor, taus in ((PAPER_ANCHOR, TAUS), (OUR_ANCHOR, (OUR_TAU,)))
        for radius in RADII
        for tau in taus
    ]


def _schedule(section: str) -> list[Variant]:
    listed = [Variant("serial", section, {"mode": "serial"})]
    listed += [
        Variant(
            f"parallel, islands {'on' if islands else 'off'}",
            section,
            {**BY_WINDOWS, "mode": "parallel", "islands": islands},
        )
        for islands in (False, True)
    ]
    listed += [
        Variant(
            f"parallel, {name.replace('_', ' ')} {_window_name(window)}",
            section,
            {**BY_WINDOWS, "mode": "parallel", name: window},
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


def _anchor(section: str) -> list[Variant]:
    return [Variant(f"anchor {anchor:g}, radius 2", section, {"radius": 2, "anchor": anchor}) for anchor in ANCHORS]


def _windows(section: str) -> list[Variant]:
    """Every chain at fewer and fewer passes: one window for the draft and for the islands."""
    return [
        Variant(
            f"window {window}, {chain_name(drafters)}",
            section,
            {**BY_WINDOWS, "drafters": drafters, "draft_window": window, "island_window": window, **FAR_UP[drafters]},
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
    "exact": exact,
    "anchor": _anchor,
    "sweeps": sweeps,
}


def variants_of(sections: list[str] | None = None) -> list[Variant]:
    """Return the variants of some sections, or of all."""
    return [item for name in sections or SECTIONS for item in SECTIONS[name](name)]
