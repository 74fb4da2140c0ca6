"""What is compared: each method, where its rule was read, what it promises and what it has to train."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from mulo_sd.engines.modes import Mode
from mulo_sd.engines.settings import Settings

# image: AR's own tokens. distribution: its distribution. no: neither.
Lossless = Literal["image", "distribution", "no"]
# code: read in published code. paper: in the paper, of which there is no code. second-hand: in what others write of it.
Read = Literal["code", "paper", "second-hand", "ours"]


@dataclass(frozen=True)
class Method:
    """A method.

    Attributes:
        name: In the tables, and the first word of its rows.
        title: As its authors call it.
        mode: Of the engine.
        lossless: What of AR it keeps.
        trains: What must be trained beside the target; "nothing" where nothing must.
        source: Who proposed it.
        read: How its rule was learnt.
        changes: Of the mode's settings, in all its rows.
    """

    name: str
    title: str
    mode: Mode
    lossless: Lossless
    trains: str
    source: str
    read: Read
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parts(self) -> tuple[str, str, str]:
        """Draft, acceptance and correction (METHOD-1), in words."""
        mode = Settings.model_validate({"mode": self.mode, **self.changes}).decoding
        return (mode.draft or "nothing", mode.acceptance or "-", mode.correction or "-")


# As its name in `METHODS`: one token a pass, the base of every comparison.
AR_METHOD = "ar"
_COARSER = "a drafter on a coarser grid"
_HEAD = "a head of one layer"

METHODS: tuple[Method, ...] = (
    Method(AR_METHOD, "AR", "ar", "image", "nothing", "-", "ours"),
    Method("ar-sweeps", "AR by sweeps", "ar", "image", "nothing", "this project", "ours"),
    Method("zipar", "ZipAR, windows", "zipar", "no", "nothing", "He et al., arXiv 2412.04062", "code"),
    Method("zipar-published", "ZipAR, as published", "zipar-published", "no", "nothing", "the same", "code"),
    Method("mulo-serial", "MuLo-SD, first version", "serial", "no", _COARSER, "arXiv 2601.05149 v1", "paper"),
    Method("mulo", "MuLo-SD", "parallel", "no", _COARSER, "arXiv 2601.05149 v2", "paper"),
    Method("mulo-sweeps", "MuLo-SD by sweeps", "parallel", "no", _COARSER, "this project", "ours"),
    Method("mulo-exact", "MuLo-SD's draft, AR's image", "exact", "image", _COARSER, "this project", "ours"),
    Method("sjd", "SJD", "sjd", "distribution", "nothing", "Teng et al., arXiv 2410.01699", "code"),
    Method(
        "sjd-gumbel",
        "SCD, shared noise",
        "sjd-gumbel",
        "distribution",
        "nothing",
        "So et al., arXiv 2510.24211",
        "code",
    ),
    Method("sjd-maximal", "SCD, maximal coupling", "sjd-maximal", "distribution", "nothing", "the same", "code"),
    Method("gsd", "GSD", "gsd", "no", "nothing", "So et al., arXiv 2508.07747", "code"),
    Method("pjd", "PJD", "pjd", "no", "nothing", "arXiv 2606.05703", "code"),
    Method("eagle", "EAGLE, a chain", "eagle", "distribution", _HEAD, "Li et al., arXiv 2401.15077", "code"),
    Method("eagle-tree", "EAGLE-2", "eagle-tree", "distribution", _HEAD, "Li et al., arXiv 2406.16858", "code"),
    Method("lantern", "LANTERN", "lantern", "no", _HEAD, "Jang et al., arXiv 2410.03355", "code"),
    Method("lantern-plus", "LANTERN++", "lantern-plus", "no", _HEAD, "Park et al., arXiv 2502.06352", "code"),
    Method("cool-sd", "COOL-SD", "cool-sd", "no", _HEAD, "arXiv 2601.09212", "second-hand"),
    Method("specdec", "SpecDec", "specdec", "no", "a block drafter", "Xia et al., arXiv 2203.16487", "code"),
    Method("ssd", "SSD's rounds, up-sampled draft", "ssd", "no", _COARSER, "arXiv 2606.20543", "second-hand"),
    # What nobody has put together.
    *(
        Method(
            f"coarse-{name}",
            f"coarse draft, {name} acceptance",
            "parallel",
            "no",
            _COARSER,
            "this project",
            "ours",
            changes={"accept_by": name},
        )
        for name in ("grouped", "annealed", "lantern", "lossless")
    ),
    Method(
        "draft-alone",
        "a coarse draft, accepted whole",
        "parallel",
        "no",
        _COARSER,
        "this project",
        "ours",
        changes={"tau": 0.0},
    ),
    Method(
        "block-lossless",
        "a block drafter, lossless",
        "specdec",
        "distribution",
        "a block drafter",
        "this project",
        "ours",
        changes={"draft_from": "block", "accept_by": "lossless"},
    ),
    Method("mulo-rows", "MuLo-SD, drafted by PJD's rows", "parallel", "no", _COARSER, "this project", "ours"),
)
BY_NAME = {method.name: method for method in METHODS}
# What drafts, by its number in traces and rows (RNG-2).
DRAFTERS = {"1": "drafter_1", "2": "drafter_2", "9": "head", "10": "block"}
