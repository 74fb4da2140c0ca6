"""The settings of a decode: each is declared once here, and checked once where it comes in."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator, model_validator

from mulo_sd.engines.decoding_mode import DecodingMode
from mulo_sd.engines.distribution import Distribution
from mulo_sd.engines.modes import MODES, UNDRAFTED_MODES, Mode
from mulo_sd.engines.numbers import SettingsError
from mulo_sd.engines.parts import MAX_NODES, Acceptance, Carry, Correction, Draft
from mulo_sd.engines.setting_kinds import MIN_TEMPERATURE, Choice, Drafters, Flag, Real, Setting, Whole, Width, Window

__all__ = ["MODES", "SETTINGS", "UNDRAFTED_MODES", "WINDOWS", "DownSampler", "Mode", "Settings", "SettingsError"]

UpSampler = Literal["bicubic", "bilinear", "nearest", "latent"]
DownSampler = Literal["area", "bicubic", "latent"]
AcceptOn = Literal["processed", "raw"]
ScheduledBy = Literal["windows", "sweeps"]
DraftedBy = Literal["windows", "sweeps", "rows"]
RefinedBy = Literal["local", "rounds"]
FirstGuess = Literal["above", "left", "opening"]
# What a setting of a part is where the mode says it.
AS_MODE: Literal["mode"] = "mode"
MAX_RADIUS = 1024
# Cells of a draft: each holds a distribution over the codebook.
MAX_DRAFT = 1024
# Over a whole grid each.
MAX_ROUNDS = 64


class Settings(BaseModel):
    """What a decode may choose; names and meaning as in docs/semantics.md and `reference.settings`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Annotated[Mode, Setting(Choice(tuple(MODES)), "MODE-AR", "how the image is decoded")] = "serial"
    guidance_scale: Annotated[float, Setting(Real(-100, 100), "DIST-1", "scale; 1 is none", "guidance")] = 1.5
    temperature: Annotated[float, Setting(Real(0, 100, zero_or=MIN_TEMPERATURE), "DIST-1", "0 is greedy")] = 1.0
    top_k: Annotated[int, Setting(Whole(0), "DIST-1", "sample from the k most likely codes; 0 is all")] = 0
    top_p: Annotated[
        float, Setting(Real(0, 1, above=True), "DIST-1", "sample from the most likely codes that sum to this; 1 is all")
    ] = 1.0
    drafters: Annotated[
        tuple[int, ...],
        Setting(
            Drafters(),
            "CASCADE-1",
            "models that draft, next to the target first: 1, 2 (a coarser grid), or 1,2 (a cascade)",
        ),
    ] = (1,)
    up_sampler: Annotated[
        UpSampler,
        Setting(Choice(get_args(UpSampler)), "SCALE-1", "of drafts: a resize filter, or a trained network"),
    ] = "bicubic"
    down_sampler: Annotated[
        DownSampler,
        Setting(Choice(get_args(DownSampler)), "SCALE-2", "of decided rows, for the drafters"),
    ] = "area"
    tau: Annotated[
        float,
        Setting(
            Real(-1e9, 1e9),
            "ACCEPT-1",
            "pooled probability from which a draft token is accepted; above 1 rejects every one",
        ),
    ] = 0.1
    radius: Annotated[
        int,
        Setting(Whole(0, MAX_RADIUS), "LOCAL-1", "how far around a rejected token all are resampled, in cells"),
    ] = 1
    radius_nats: Annotated[
        float,
        Setting(
            Real(0, 1e9),
            "LOCAL-3",
            "nats of the target's entropy for each cell of radius; 0 is the same radius everywhere",
        ),
    ] = 0.0
    anchor: Annotated[
        float,
        Setting(
            Real(0, 1e3),
            "ANCHOR-1",
            "how strongly resampled tokens are drawn towards their draft, in nats; 0 is not at all",
        ),
    ] = 0.0
    neighbours: Annotated[
        int,
        Setting(Whole(1), "POOL-1", "codes near a draft token over which the target's probability is pooled"),
    ] = 16
    draft_rows: Annotated[int, Setting(Whole(1), "DRAFT-1", "rows that the first drafter drafts a cycle")] = 4
    look_ahead: Annotated[int, Setting(Whole(0), "DRAFT-1", "further rows drafted as context alone")] = 1
    refresh: Annotated[bool, Setting(Flag(), "KV-4", "a verification feeds the previous window again")] = False
    accept_on: Annotated[
        AcceptOn,
        Setting(
            Choice(get_args(AcceptOn)),
            "DIST-2",
            "tau is compared with probabilities after temperature and filters (processed), or before (raw)",
        ),
    ] = "processed"
    window: Annotated[int | None, Setting(Window(), "SCHED-1", "ZipAR window of the target")] = 4
    adaptive_window: Annotated[bool, Setting(Flag(), "SCHED-5", "rows open when their first token is settled")] = False
    draft_window: Annotated[int | None, Setting(Window(), "SCHED-1", "ZipAR window of the last drafter")] = 4
    islands: Annotated[bool, Setting(Flag(), "SCHED-2", "islands are resampled at the same time")] = True
    island_window: Annotated[int | None, Setting(Window(), "SCHED-1", "ZipAR window of resampling")] = 4
    draft_by: Annotated[
        DraftedBy, Setting(Choice(get_args(DraftedBy)), "SWEEP-1, METHOD-5", "how the coarsest draft is drawn")
    ] = "windows"
    resample_by: Annotated[
        ScheduledBy, Setting(Choice(get_args(ScheduledBy)), "SWEEP-1", "how islands are resampled")
    ] = "windows"
    sweep_width: Annotated[
        int | Literal["auto"] | None,
        Setting(Width(), "SWEEP-1, SWEEP-6", "cells of a region that a sweep samples; auto is what is fastest here"),
    ] = "auto"
    sweeps: Annotated[
        int | None, Setting(Window(), "SWEEP-4", "which sweep of resampling decides all that is left")
    ] = None
    draft_sweeps: Annotated[
        int | None, Setting(Window(), "SWEEP-4", "which sweep of the coarsest draft decides all that is left")
    ] = None
    first_guess: Annotated[
        FirstGuess,
        Setting(
            Choice(get_args(FirstGuess)),
            "SWEEP-5",
            "what a sweep first takes for a cell: the token above, the one to the left, or a draw from cell 0's p",
        ),
    ] = "above"

    draft_from: Annotated[
        Draft | Literal["mode"],
        Setting(Choice((AS_MODE, *get_args(Draft))), "METHOD-1", "where drafts come from; mode is what the mode says"),
    ] = AS_MODE
    accept_by: Annotated[
        Acceptance | Literal["mode"],
        Setting(Choice((AS_MODE, *get_args(Acceptance))), "METHOD-1", "what accepts a draft token"),
    ] = AS_MODE
    correct_by: Annotated[
        Correction | Literal["mode"],
        Setting(Choice((AS_MODE, *get_args(Correction))), "METHOD-1", "what becomes of what is not accepted"),
    ] = AS_MODE
    carry: Annotated[
        Carry | Literal["mode"],
        Setting(Choice((AS_MODE, *get_args(Carry))), "METHOD-3", "the next guess of a cell behind the first rejection"),
    ] = AS_MODE
    jacobi_window: Annotated[
        int, Setting(Whole(1, MAX_DRAFT), "METHOD-2", "cells that a sweep of SJD and its kin guesses")
    ] = 16
    draft_length: Annotated[int, Setting(Whole(1, MAX_DRAFT), "METHOD-2", "tokens that a head drafts in a chain")] = 4
    block: Annotated[int, Setting(Whole(1, MAX_DRAFT), "METHOD-2", "tokens of a block that is verified at once")] = 25
    rounds: Annotated[
        int, Setting(Whole(1, MAX_ROUNDS), "METHOD-4", "passes over the whole draft, the last of which decides")
    ] = 2
    refine_by: Annotated[
        RefinedBy,
        Setting(Choice(get_args(RefinedBy)), "METHOD-4", "how the drafters of a cascade correct their own drafts"),
    ] = "local"
    row_lead: Annotated[int, Setting(Whole(1), "METHOD-5", "tokens of a row that open the one below")] = 9
    group: Annotated[int, Setting(Whole(1), "ACCEPT-3", "codes of a group, in the order of their probabilities")] = 10
    group_probability: Annotated[
        float, Setting(Real(0, 1), "ACCEPT-3", "how far probabilities within a group may differ")
    ] = 0.15
    group_distance: Annotated[
        float, Setting(Real(0, 4), "ACCEPT-3", "squared distance that codes of a group may have")
    ] = 0.5
    anneal: Annotated[float, Setting(Real(0, 1e3), "ACCEPT-4", "mean of the factors on p / q along a chain")] = 1.1
    anneal_rate: Annotated[float, Setting(Real(0, 100), "ACCEPT-4", "how fast these factors fall along it")] = 0.7
    lantern_neighbours: Annotated[
        int, Setting(Whole(1), "ACCEPT-5", "codes near a draft token whose probability may count as its own")
    ] = 1000
    lantern_delta: Annotated[float, Setting(Real(0, 1), "ACCEPT-5", "probability that these may add")] = 0.4
    lantern_plus_neighbours: Annotated[int, Setting(Whole(1), "ACCEPT-6", "the same of LANTERN++")] = 10
    lantern_factor: Annotated[
        float, Setting(Real(1, 1e3), "ACCEPT-6", "times its own probability that a token may count as at most")
    ] = 5.0
    top_beta: Annotated[int, Setting(Whole(1), "ACCEPT-7", "draft tokens among so many of the target's best pass")] = 5
    top_tau: Annotated[float, Setting(Real(0, 1e3), "ACCEPT-7", "nats that they may lie below the target's best")] = 3.0
    typical_threshold: Annotated[
        float, Setting(Real(0, 1), "ACCEPT-8", "p above which a draft token stays in any case")
    ] = 0.09
    typical_factor: Annotated[
        float, Setting(Real(0, 1e6), "ACCEPT-8", "of exp(-entropy): p above which it stays where the target is unsure")
    ] = 0.3
    tree_nodes: Annotated[int, Setting(Whole(1, MAX_NODES), "METHOD-6", "draft tokens of a tree")] = 58
    tree_depth: Annotated[int, Setting(Whole(1, MAX_NODES), "METHOD-6", "tokens of its longest branch")] = 5
    tree_top: Annotated[int, Setting(Whole(1, MAX_NODES), "METHOD-6", "tokens that each layer may branch into")] = 10

    @field_validator("*", mode="before")
    @classmethod
    def _is_one_of_its_kind(cls, value: object, info: ValidationInfo) -> Any:
        name = str(info.field_name)
        return SETTINGS[name].kind.check(name, value)

    @model_validator(mode="after")
    def _parts_make_sense(self) -> Self:
        nonsense = self.decoding.nonsense
        if nonsense:
            parts = f"draft_from {self.decoding.draft}, accept_by {self.decoding.acceptance}"
            raise ValueError(
                f"mode {self.mode}: expected {nonsense}, got {parts}, correct_by {self.decoding.correction}"
            )
        grown = self.tree_top * (self.tree_depth - 1)
        if self.decoding.draft == "tree" and grown > MAX_NODES:
            raise ValueError(f"tree_top: expected tree_top * (tree_depth - 1) of at most {MAX_NODES}, got {grown}")
        return self

    @property
    def distribution(self) -> Distribution:
        """What tokens are drawn from (DIST-1)."""
        return Distribution(self.guidance_scale, self.temperature, self.top_k, self.top_p)

    @property
    def decoding(self) -> DecodingMode:
        """What the mode means, with the parts that the settings choose otherwise (METHOD-1)."""
        return _decoding(self.mode, self.draft_from, self.accept_by, self.correct_by, self.carry)

    @property
    def model_numbers(self) -> tuple[int, ...]:
        """The models that take part, the target first (CASCADE-1)."""
        return (0, *self.drafters) if self.decoding.drafts else (0,)

    def named(self, name: str | None, otherwise: Any) -> Any:
        """Return the setting of a name; where a mode names none, another value."""
        return otherwise if name is None else getattr(self, name)

    def changed(self, /, **changes: object) -> "Settings":
        """Return these settings with some fields changed; None leaves a field as it is, but makes a window infinite.

        Raises:
            SettingsError: a field is unknown or out of its range.
        """
        for name, value in changes.items():
            if name not in SETTINGS:
                raise SettingsError(f"{_unknown(name, value)}; see docs/semantics.md")
        changes = {name: value for name, value in changes.items() if value is not None or name in WINDOWS}
        try:
            return Settings.model_validate(self.model_dump() | changes)
        except ValidationError as error:
            message = error.errors()[0]["msg"].removeprefix("Value error, ")  # one of ours, which names the setting
            raise SettingsError(f"{message}; see docs/semantics.md") from None

    def unread(self, names: Iterable[str]) -> list[str]:
        """Return those of some settings that a decode with these settings does not read."""
        reads = self.decoding.reads_of(self.drafters)
        return [name for name in names if name not in reads]

    def idle(self, names: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Return those of some settings that windows or sweeps alone read, where the others are chosen (SWEEP-1).

        Returns:
            By name: the setting that chooses, and what it would have to be.
        """
        needed: dict[str, tuple[str, str]] = {}
        for order in (self.decoding.coarsest, self.decoding.resampling):
            if order.by is not None and order.limit is not None and order.window is not None:
                needed |= {order.limit: (order.by, "sweeps"), order.window: (order.by, "windows")}
        unread = self.unread(names)
        if self.decoding.drafts:
            needed |= {"jacobi_window": ("draft_by", "rows"), "row_lead": ("draft_by", "rows")}
        idle = {name: (by, value) for name, (by, value) in needed.items() if getattr(self, by) != value}
        return {name: idle[name] for name in names if name in idle and name not in unread}


@cache
def _decoding(name: Mode, draft: str, acceptance: str, correction: str, carry: str) -> DecodingMode:
    """Return what a mode means with other parts, each by its name or AS_MODE; asked for at every step of a decode."""
    mode = MODES[name]
    if mode.draft is None:
        return mode
    named: dict[str, Any] = {"draft": draft, "acceptance": acceptance, "correction": correction, "carry": carry}
    chosen = replace(mode, **{part: other for part, other in named.items() if other != AS_MODE})
    return replace(chosen, by_rows=mode.by_rows and chosen.drafts)


SETTINGS: Mapping[str, Setting] = {
    name: next(item for item in field.metadata if isinstance(item, Setting))
    for name, field in Settings.model_fields.items()
}
# Here None is a value, infinity, and not "leave it as it is".
WINDOWS = tuple(name for name, setting in SETTINGS.items() if isinstance(setting.kind, Window | Width))
# Names by which other places know a setting.
_OTHER_NAMES = {"guidance": "guidance_scale", "cfg_scale": "guidance_scale", "cfg": "guidance_scale"}


def _unknown(name: str, value: object) -> str:
    """Return a line about a name that is no setting's; it may hold anything, when it comes from a file."""
    meant = _OTHER_NAMES.get(name) or next(iter(get_close_matches(name[:80], Settings.model_fields, n=1)), None)
    hint = f" (perhaps {meant})" if meant else ""
    shown = name if name.isidentifier() and len(name) <= 80 else f"{name!a:.80}"
    return f"{shown}: expected the name of a setting{hint}, got {value!r:.80}"
