"""What the study decodes by sweeps: AR's own image, and MODE-PARALLEL with and without a limit.

Widths are always said: what "auto" is depends on the machine, and so would the passes of a row (SWEEP-6).
"""

from collections.abc import Mapping
from typing import Any

from mulo_sd.conformance.study.variant import ACCEPT_ALL, CHAINS, FAR_UP, RATIO_2, Chain, Variant, chain_name

SWEEP_WIDTHS = (4, 8, 16, 32, 64, 256, None)
SWEEP_LIMITS = (1, 2, 4, 6, 8, 12, None)
DRAFT_LIMITS = (2, 4, 6, 10, None)
BY_SWEEPS: Mapping[str, Any] = {
    "mode": "parallel",
    "draft_by": "sweeps",
    "resample_by": "sweeps",
    "sweep_width": None,
}
WITHOUT_LIMIT: Mapping[str, Any] = {"sweeps": None, "draft_sweeps": None}
# What goes with them on the demo, whose own settings are by windows (docs/demo.md).
FOR_SWEEPS: Mapping[str, Any] = {"radius": 1, "anchor": 16.0}
FOR_FEW_SWEEPS: Mapping[str, Any] = {**FOR_SWEEPS, "sweeps": 7, "draft_sweeps": 6}
# A bundle's own few sweeps, on the demo those of its preset "passes"; the same with no limit; and what the passes of
# either could have bought.
FEW_PASSES, NO_LIMIT = "sweeps, few passes", "sweeps, no limit"
SWEEPS_ACCEPTED = "draft by sweeps, accepted"
FINE_LIMITED = "drafters 1, draft by 20 sweeps, accepted"
FINE_BY_SWEEPS = "drafters 1, draft by sweeps, accepted"
# AR's very images, by sweeps, where many of them are wanted.
AR_BY_SWEEPS = "AR by sweeps, width 16"


def exact(section: str) -> list[Variant]:
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


def sweeps(section: str) -> list[Variant]:
    """MODE-PARALLEL by sweeps: what it claims, what its passes could have bought, limits, widths, radii and chains."""
    listed = [
        Variant(FEW_PASSES, section, BY_SWEEPS, unless_by_sweeps=FOR_FEW_SWEEPS),
        _by_sweeps(NO_LIMIT, section, WITHOUT_LIMIT),
        _by_sweeps(SWEEPS_ACCEPTED, section, {**WITHOUT_LIMIT, **ACCEPT_ALL}),
        _by_sweeps(FINE_LIMITED, section, {**ACCEPT_ALL, "drafters": RATIO_2, "draft_sweeps": 20}),
        _by_sweeps(FINE_BY_SWEEPS, section, {**WITHOUT_LIMIT, **ACCEPT_ALL, "drafters": RATIO_2}),
    ]
    listed += [
        _by_sweeps(f"islands: {_limit_name(limit)}, draft: limit 6", section, {"sweeps": limit, "draft_sweeps": 6})
        for limit in SWEEP_LIMITS
    ]
    listed += [
        _by_sweeps(f"islands: limit 7, draft: {_limit_name(limit)}", section, {"sweeps": 7, "draft_sweeps": limit})
        for limit in DRAFT_LIMITS
    ]
    listed += [
        _by_sweeps(f"islands: {_limit_name(limit)}, draft: no limit", section, {**WITHOUT_LIMIT, "sweeps": limit})
        for limit in (1, 2, 3, 4)
    ]
    listed += [
        _by_sweeps(f"no limit, width {width}", section, {**WITHOUT_LIMIT, "sweep_width": width})
        for width in (4, 8, 16, 32)
    ]
    listed += [
        _by_sweeps(f"limit 7 and 6, radius {radius}, anchor {anchor:g}", section, _near(radius, anchor))
        for radius, anchor in ((0, 16.0), (2, 16.0), (1, 0.0), (1, 8.0), (1, 32.0))
    ]
    listed += [
        _by_sweeps(
            f"limit 7 and 6, {chain_name(drafters)}",
            section,
            {"sweeps": 7, "draft_sweeps": 6, "drafters": drafters, **FAR_UP[drafters]},
        )
        for drafters in CHAINS
    ]
    listed.append(_by_sweeps("limit 7, draft by windows", section, {"sweeps": 7, "draft_by": "windows"}))
    return listed


def _near(radius: int, anchor: float) -> dict[str, Any]:
    return {"sweeps": 7, "draft_sweeps": 6, "radius": radius, "anchor": anchor}


def _by_sweeps(name: str, section: str, settings: Mapping[str, Any] | None = None) -> Variant:
    return Variant(name, section, {**BY_SWEEPS, **(settings or {})}, unless_by_sweeps=FOR_SWEEPS)
