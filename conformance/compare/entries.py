"""The rows of the comparison: every method at its published setting, and at settings found for the demo.

A row's name begins with its method's. Widths and windows are always said: what "auto" is depends on the machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mulo_sd.conformance.compare.methods import AR_METHOD, BY_NAME, METHODS, Method
from mulo_sd.conformance.study.sweeps import BY_SWEEPS, FOR_SWEEPS, WITHOUT_LIMIT
from mulo_sd.conformance.study.variant import Variant
from mulo_sd.conformance.study.variants import AR, ONE_BY_ONE, OTHER_SEEDS

# published: as its authors set it. found: as it does best on the demo, of what was tried.
Kind = Literal["published", "found"]
OURS: Mapping[str, Any] = {**BY_SWEEPS, **WITHOUT_LIMIT, "drafters": (1, 2)}
FEW: Mapping[str, Any] = {**OURS, "sweeps": 7, "draft_sweeps": 6}


@dataclass(frozen=True)
class Entry:
    """A row.

    Attributes:
        method: Of `METHODS`.
        setting: In words; with the method it is the row's name. Empty where the method has one setting.
        kind: Whose setting it is.
        changes: Of the bundle's settings.
    """

    method: str
    setting: str
    kind: Kind
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The row's name, for tables and for --row."""
        return f"{self.method}: {self.setting}" if self.setting else self.method

    @property
    def of(self) -> Method:
        """What it is a row of."""
        return BY_NAME[self.method]

    @property
    def variant(self) -> Variant:
        """How it is drawn: AR one token a pass may be drawn in batches, as in the study."""
        if self.method == AR_METHOD:
            return CONTROLS[0]
        besides = FOR_SWEEPS if self.changes.get("resample_by") == "sweeps" else {}
        settings = {"mode": self.of.mode, **self.of.changes, **self.changes}
        return Variant(self.name, self.method, settings, unless_by_sweeps=besides)


# Beside every row: AR, whose images all are compared with, by sweeps where many are wanted, and with other seeds.
CONTROLS = (Variant(AR, AR_METHOD, ONE_BY_ONE), Variant(OTHER_SEEDS, AR_METHOD, ONE_BY_ONE, other_seeds=True))


def _published(method: str, setting: str, **changes: Any) -> Entry:
    return Entry(method, setting, "published", changes)


def _found(method: str, setting: str, **changes: Any) -> Entry:
    return Entry(method, setting, "found", changes)


def _of_the_target() -> list[Entry]:
    """What the target does alone: one token a pass, by sweeps, by windows."""
    listed = [_published(AR_METHOD, "")]
    listed += [_found("ar-sweeps", f"width {width}", sweep_width=width) for width in (16, 64, 256)]
    listed += [_published("zipar", "window 16", window=16)]
    listed += [_found("zipar", f"window {window}", window=window) for window in (3, 4, 5, 6)]
    listed += [_published("zipar-published", "window 16", window=16)]
    listed += [_found("zipar-published", f"window {window}", window=window) for window in (4, 6)]
    return listed


def _ours() -> list[Entry]:
    """MuLo-SD as in its paper, as the demo's presets have it, and by sweeps."""
    return [
        _published("mulo-serial", "radius 3", drafters=(1,), radius=3, anchor=0.0),
        _published("mulo", "radius 3", **{**_windows(4), "radius": 3, "anchor": 0.0}, drafters=(1,)),
        _found("mulo", "cascade, windows 2", **_windows(2), drafters=(1, 2)),
        _found("mulo", "ratio 4, windows 3", **_windows(3), drafters=(2,), up_sampler="latent"),
        _found("mulo-sweeps", "no limit", **_without_mode(OURS)),
        _found("mulo-sweeps", "limits 7 and 6", **_without_mode(FEW)),
        _found("mulo-sweeps", "limit 2, draft without", **_without_mode({**OURS, "sweeps": 2})),
        _found("mulo-sweeps", "limits 7 and 4", **_without_mode({**FEW, "draft_sweeps": 4})),
        _found("mulo-sweeps", "limits 4 and 6", **_without_mode({**FEW, "sweeps": 4})),
        _found("mulo-sweeps", "no limit, width 16", **_without_mode({**OURS, "sweep_width": 16})),
        _found("mulo-exact", "width 64", sweep_width=64, drafters=(1,), draft_by="sweeps"),
    ]


def _windows(window: int) -> dict[str, Any]:
    """Draft and islands by windows, as in the demo's preset of that name."""
    by = {"draft_by": "windows", "resample_by": "windows", "draft_window": window, "island_window": window}
    return {**by, "radius": 2, "anchor": 8.0}


def _without_mode(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name != "mode"}


def _jacobi() -> list[Entry]:
    """What drafts by its own last sweep."""
    listed = []
    for method, published in (("sjd", 16), ("sjd-gumbel", 32), ("sjd-maximal", 64)):
        for window in (16, 32, 64):
            make = _published if window == published else _found
            listed.append(make(method, f"window {window}", jacobi_window=window))
    listed += [
        _published("gsd", "group 10, window 16", group=10, jacobi_window=16),
        _published("gsd", "group 14, window 16", group=14, jacobi_window=16),
        _found("gsd", "group 10, window 64", group=10, jacobi_window=64),
        _found("gsd", "group 50, window 64", group=50, jacobi_window=64),
        _published("pjd", "lead 9, window 8", row_lead=9, jacobi_window=8),
    ]
    listed += [_found("pjd", f"lead {lead}, window 8", row_lead=lead, jacobi_window=8) for lead in (4, 6, 11)]
    return listed


def _heads() -> list[Entry]:
    """What drafts by a head on the target's hidden states."""
    listed = [_published("eagle", "4 tokens", draft_length=4)]
    listed += [_found("eagle", f"{length} tokens", draft_length=length) for length in (2, 8)]
    listed += [
        # The published 59 count the root, and its depth the passes after the first.
        _published("eagle-tree", "58 nodes, depth 5", tree_nodes=58, tree_depth=5, tree_top=10),
        _found("eagle-tree", "24 nodes, depth 6", tree_nodes=24, tree_depth=6, tree_top=6),
        _published("lantern", "1000 codes, 0.4", lantern_neighbours=1000, lantern_delta=0.4),
        _found("lantern", "1000 codes, 0.1", lantern_neighbours=1000, lantern_delta=0.1),
    ]
    for codes, factor in ((10, 5.0), (5, 10.0), (5, 20.0)):
        listed.append(
            _published(
                "lantern-plus", f"{codes} codes, {factor:g}", lantern_plus_neighbours=codes, lantern_factor=factor
            )
        )
    listed += [
        _published("cool-sd", "4 tokens, 1.1", draft_length=4, anneal=1.1),
        _found("cool-sd", "6 tokens, 1.3", draft_length=6, anneal=1.3),
    ]
    return listed


def _blocks() -> list[Entry]:
    """SpecDec, and SSD's rounds."""
    block = {"draft_from": "block", "block": 25}
    coarse = {"draft_from": "coarse", "block": 25, "drafters": (1,)}
    sampled = {"accept_by": "top-beta-sampled"}
    listed = [
        _published("specdec", "block drafter", **block, top_beta=5, top_tau=3.0),
        _found("specdec", "coarse draft", **coarse, top_beta=5, top_tau=3.0),
        _found("specdec", "block drafter, sampled", **block, **sampled, top_beta=5, top_tau=3.0),
        _found("specdec", "coarse draft, sampled", **coarse, **sampled, top_beta=5, top_tau=3.0),
    ]
    listed += [_published("ssd", f"{rounds} rounds", rounds=rounds, drafters=(1,)) for rounds in (1, 2)]
    listed += [_found("ssd", f"{rounds} rounds, cascade", rounds=rounds, drafters=(1, 2)) for rounds in (2, 4)]
    listed += [
        _found("ssd", f"{rounds} rounds, cascade by sweeps", **_without_mode(FEW), rounds=rounds)
        for rounds in (1, 2, 4)
    ]
    listed += [
        _found(
            "ssd",
            f"{rounds} rounds, all models by rounds",
            **_without_mode(FEW),
            rounds=rounds,
            refine_by="rounds",
        )
        for rounds in (1, 2)
    ]
    return listed


def _combined() -> list[Entry]:
    """Parts of several methods: the coarse draft under other acceptances, lossless blocks, rows that draft."""
    few = _without_mode(FEW)
    by_rows = {name: value for name, value in few.items() if name != "draft_sweeps"} | {"draft_by": "rows"}
    return [
        _found("coarse-grouped", "group 10", **few, group=10),
        _found("coarse-annealed", "1.1", **few, anneal=1.1),
        _found("coarse-lantern", "1000 codes, 0.4", **few, lantern_neighbours=1000, lantern_delta=0.4),
        _found("coarse-lossless", "limits 7 and 6", **few),
        *(_found("block-lossless", f"block {length}", block=length) for length in (25, 50)),
        _found("draft-alone", "ratio 2, 20 sweeps", **_without_mode({**OURS, "drafters": (1,), "draft_sweeps": 20})),
        _found("mulo-rows", "lead 4, window 8", **by_rows, row_lead=4, jacobi_window=8),
    ]


ENTRIES: tuple[Entry, ...] = (
    *_of_the_target(),
    *_ours(),
    *_jacobi(),
    *_heads(),
    *_blocks(),
    *_combined(),
)


def entries_of(rows: Sequence[str] | None, methods: Sequence[str] | None) -> list[Entry]:
    """Return the rows of some names, of some methods, or all; AR is always among them.

    Raises:
        ValueError: a row or a method is unknown.
    """
    for asked, known, option in (
        (rows, [entry.name for entry in ENTRIES], "row"),
        (methods, [method.name for method in METHODS], "methods"),
    ):
        for name in asked or ():
            if name not in known:
                listed = "; ".join(known) if option == "row" else ", ".join(known)
                raise ValueError(f"--{option}: expected some of {listed}; got {name!r:.80}")
    return [
        entry
        for entry in ENTRIES
        if entry.method == AR_METHOD
        or ((rows is None or entry.name in rows) and (methods is None or entry.method in methods))
    ]
