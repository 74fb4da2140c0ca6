"""The settings of a decode."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

from mulo_sd.reference.decoding_mode import DecodingMode
from mulo_sd.reference.modes import MODES, UNDRAFTED_MODES, Mode
from mulo_sd.reference.numbers import is_boolean, real_number, whole_number
from mulo_sd.reference.parts import MAX_NODES, Acceptance, Carry, Correction, Draft

__all__ = ["MODES", "UNDRAFTED_MODES", "WINDOWS", "DownSampler", "Mode", "Settings", "UpSampler"]

UpSampler = Literal["bicubic", "bilinear", "nearest", "latent"]
DownSampler = Literal["area", "bicubic", "latent"]
AcceptOn = Literal["processed", "raw"]
ScheduledBy = Literal["windows", "sweeps"]
DraftedBy = Literal["windows", "sweeps", "rows"]
RefinedBy = Literal["local", "rounds"]
FirstGuess = Literal["above", "left", "opening"]
# No grid or codebook is larger.
MAX_COUNT = 2**20
# What a setting of a part is where the mode says it.
AS_MODE: Literal["mode"] = "mode"
MAX_RADIUS = 1024
# Cells of a draft: each holds a distribution over the codebook.
MAX_DRAFT = 1024
# Over a whole grid each.
MAX_ROUNDS = 64
MAX_DRAFTERS = 8
# Smaller ones overflow float32 in the division; published code takes this one instead, and we refuse them.
MIN_TEMPERATURE = 1e-5

# A setting's name and a value -> the value in Python's own types; ValueError where it is none.
Check = Callable[[str, object], Any]


def _setting(default: Any, check: Check) -> Any:
    return field(default=default, metadata={"check": check})


def _one_of(choices: Iterable[str]) -> Check:
    listed = tuple(choices)

    def check(name: str, value: object) -> str:
        if not isinstance(value, str) or value not in listed:
            raise ValueError(f"{name}: expected one of {', '.join(listed)}, got {value!r:.80}")
        return value

    return check


def _real(least: float, most: float) -> Check:
    return lambda name, value: real_number(name, value, least, most)


def _whole(least: int, most: int = MAX_COUNT) -> Check:
    return lambda name, value: whole_number(name, value, least, most)


def _window(name: str, value: object) -> int | None:
    return None if value is None else whole_number(name, value, 1, MAX_COUNT)


def _width(name: str, value: object) -> int | Literal["auto"] | None:
    return "auto" if isinstance(value, str) and value == "auto" else _window(name, value)


def _flag(name: str, value: object) -> bool:
    if not is_boolean(value):
        raise ValueError(f"{name}: expected True or False, got {value!r:.80}")
    return bool(value)


def _temperature(name: str, value: object) -> float:
    number = real_number(name, value, 0, 100)
    if 0 < number < MIN_TEMPERATURE:
        raise ValueError(f"{name}: expected 0 (greedy) or a number in {MIN_TEMPERATURE:g}..100, got {value!r:.80}")
    return number


def _share(name: str, value: object) -> float:
    number = real_number(name, value, 0, 1)
    if number == 0:
        raise ValueError(f"{name}: expected a number above 0, at most 1, got {value!r:.80}")
    return number


def _ascending(name: str, value: object) -> tuple[int, ...]:
    """Return the numbers of models in a tuple; a single number is one drafter."""
    is_list = isinstance(value, Iterable) and not isinstance(value, str | bytes) and getattr(value, "ndim", 1) == 1
    listed = list(value) if is_list else [value]  # type: ignore[call-overload]
    numbers = tuple(whole_number(name, number, 1, MAX_DRAFTERS) for number in listed)
    if not numbers or list(numbers) != sorted(set(numbers)):
        raise ValueError(f"{name}: expected numbers of models from 1 on, ascending, got {value!r:.80}")
    return numbers


@dataclass(frozen=True)
class Settings:
    """What a decode may choose; every field is a setting of docs/semantics.md.

    Attributes:
        mode: One of `reference.modes.MODES`.
        guidance_scale: DIST-1; 1 is no guidance.
        temperature: DIST-1; 0 is greedy.
        top_k: DIST-1; 0 keeps all.
        top_p: DIST-1; 1 keeps all.
        drafters: CASCADE-1, the numbers of the models that draft, the one next to the target first.
        up_sampler: SCALE-1, a resize filter of the pixel-space up-sampler, or "latent".
        down_sampler: SCALE-2, likewise.
        tau: ACCEPT-1, the acceptance threshold.
        radius: LOCAL-1, in cells.
        radius_nats: LOCAL-3, nats of mean entropy for each cell of radius; 0 is the same radius everywhere.
        anchor: ANCHOR-1, how strongly resampled tokens are drawn towards their draft, in nats; 0 is the paper's rule.
        neighbours: POOL-1, the k of B_k, the token itself included.
        draft_rows: DRAFT-1, rows of the first drafter a cycle.
        look_ahead: DRAFT-1, further low-resolution rows drafted as context of the up-sampler only.
        refresh: KV-4.
        accept_on: DIST-2, "processed" or "raw".
        window: SCHED-1, of MODE-ZIPAR; None is infinite.
        adaptive_window: SCHED-5, in MODE-ZIPAR.
        draft_window: SCHED-1, of the coarsest drafter.
        islands: SCHED-2, in MODE-PARALLEL.
        island_window: SCHED-1, of resampling in MODE-PARALLEL.
        draft_by: SWEEP-1, how the coarsest draft is drawn: by "windows", "sweeps" or "rows".
        resample_by: SWEEP-1, whether MODE-PARALLEL resamples by "windows" or by "sweeps".
        sweep_width: SWEEP-1, how many cells of a region a sweep samples; None is all, "auto" SWEEP-6.
        sweeps: SWEEP-4, which sweep of resampling decides all that is left; None is none.
        draft_sweeps: SWEEP-4, which sweep of the coarsest draft does.
        first_guess: SWEEP-5, "above", "left" or "opening".
        draft_from: METHOD-1, where drafts come from; "mode" is what the mode says.
        accept_by: METHOD-1, what accepts a draft token; "mode" likewise.
        correct_by: METHOD-1, what becomes of what is not accepted; "mode" likewise.
        carry: METHOD-3, "fresh", "same", "coupled" or "kept"; "mode" likewise.
        jacobi_window: METHOD-2, cells that a sweep of SJD and its kin guesses.
        draft_length: METHOD-2, tokens of a head's chain.
        block: METHOD-2, tokens of a block that is verified at once.
        rounds: METHOD-4.
        refine_by: METHOD-4, how drafters above the coarsest one correct theirs: "local" or in "rounds".
        row_lead: METHOD-5, tokens of a row that open the one below.
        group: ACCEPT-3, codes of a group.
        group_probability: ACCEPT-3, how far probabilities within a group may differ.
        group_distance: ACCEPT-3, squared distance that codes of a group may have.
        anneal: ACCEPT-4, the mean factor.
        anneal_rate: ACCEPT-4, how fast factors fall.
        lantern_neighbours: ACCEPT-5, codes whose probability may count.
        lantern_delta: ACCEPT-5, probability that they may add.
        lantern_plus_neighbours: ACCEPT-6.
        lantern_factor: ACCEPT-6, the bound of LANTERN++.
        top_beta: ACCEPT-7, how many of the target's best pass.
        top_tau: ACCEPT-7, nats below the best.
        typical_threshold: ACCEPT-8, the largest p that a draft token may need.
        typical_factor: ACCEPT-8, of exp(-entropy), what it needs where the target is unsure.
        tree_nodes: METHOD-6, draft tokens of a tree.
        tree_depth: METHOD-6, tokens of its longest branch.
        tree_top: METHOD-6, tokens that it may branch into.
    """

    mode: Mode = _setting("serial", _one_of(MODES))  # noqa: RUF009  (a field)
    guidance_scale: float = _setting(1.5, _real(-100, 100))
    temperature: float = _setting(1.0, _temperature)
    top_k: int = _setting(0, _whole(0))
    top_p: float = _setting(1.0, _share)
    drafters: tuple[int, ...] = _setting((1,), _ascending)
    up_sampler: UpSampler = _setting("bicubic", _one_of(get_args(UpSampler)))  # noqa: RUF009  (a field)
    down_sampler: DownSampler = _setting("area", _one_of(get_args(DownSampler)))  # noqa: RUF009  (a field)
    tau: float = _setting(0.1, _real(-1e9, 1e9))
    radius: int = _setting(1, _whole(0, MAX_RADIUS))
    radius_nats: float = _setting(0.0, _real(0, 1e9))
    anchor: float = _setting(0.0, _real(0, 1e3))
    neighbours: int = _setting(16, _whole(1))
    draft_rows: int = _setting(4, _whole(1))
    look_ahead: int = _setting(1, _whole(0))
    refresh: bool = _setting(False, _flag)
    accept_on: AcceptOn = _setting("processed", _one_of(get_args(AcceptOn)))  # noqa: RUF009  (a field)
    window: int | None = _setting(4, _window)
    adaptive_window: bool = _setting(False, _flag)
    draft_window: int | None = _setting(4, _window)
    islands: bool = _setting(True, _flag)
    island_window: int | None = _setting(4, _window)
    draft_by: DraftedBy = _setting("windows", _one_of(get_args(DraftedBy)))  # noqa: RUF009  (a field)
    resample_by: ScheduledBy = _setting("windows", _one_of(get_args(ScheduledBy)))  # noqa: RUF009  (a field)
    sweep_width: int | Literal["auto"] | None = _setting("auto", _width)
    sweeps: int | None = _setting(None, _window)
    draft_sweeps: int | None = _setting(None, _window)
    first_guess: FirstGuess = _setting("above", _one_of(get_args(FirstGuess)))  # noqa: RUF009  (a field)
    draft_from: Draft | Literal["mode"] = _setting(AS_MODE, _one_of((AS_MODE, *get_args(Draft))))  # noqa: RUF009  (a field)
    accept_by: Acceptance | Literal["mode"] = _setting(AS_MODE, _one_of((AS_MODE, *get_args(Acceptance))))  # noqa: RUF009
    correct_by: Correction | Literal["mode"] = _setting(AS_MODE, _one_of((AS_MODE, *get_args(Correction))))  # noqa: RUF009
    carry: Carry | Literal["mode"] = _setting(AS_MODE, _one_of((AS_MODE, *get_args(Carry))))  # noqa: RUF009  (a field)
    jacobi_window: int = _setting(16, _whole(1, MAX_DRAFT))
    draft_length: int = _setting(4, _whole(1, MAX_DRAFT))
    block: int = _setting(25, _whole(1, MAX_DRAFT))
    rounds: int = _setting(2, _whole(1, MAX_ROUNDS))
    refine_by: RefinedBy = _setting("local", _one_of(get_args(RefinedBy)))  # noqa: RUF009  (a field)
    row_lead: int = _setting(9, _whole(1))
    group: int = _setting(10, _whole(1))
    group_probability: float = _setting(0.15, _real(0, 1))
    group_distance: float = _setting(0.5, _real(0, 4))
    anneal: float = _setting(1.1, _real(0, 1e3))
    anneal_rate: float = _setting(0.7, _real(0, 100))
    lantern_neighbours: int = _setting(1000, _whole(1))
    lantern_delta: float = _setting(0.4, _real(0, 1))
    lantern_plus_neighbours: int = _setting(10, _whole(1))
    lantern_factor: float = _setting(5.0, _real(1, 1e3))
    top_beta: int = _setting(5, _whole(1))
    top_tau: float = _setting(3.0, _real(0, 1e3))
    typical_threshold: float = _setting(0.09, _real(0, 1))
    typical_factor: float = _setting(0.3, _real(0, 1e6))
    tree_nodes: int = _setting(58, _whole(1, MAX_NODES))
    tree_depth: int = _setting(5, _whole(1, MAX_NODES))
    tree_top: int = _setting(10, _whole(1, MAX_NODES))

    def __post_init__(self) -> None:
        """Check every field once; numbers of other libraries become Python's.

        Raises:
            ValueError: a field is out of its range, or the parts of the method make no sense together.
        """
        for item in fields(self):
            object.__setattr__(self, item.name, item.metadata["check"](item.name, getattr(self, item.name)))
        nonsense = self.decoding.nonsense
        if nonsense:
            parts = f"draft_from {self.decoding.draft}, accept_by {self.decoding.acceptance}"
            raise ValueError(
                f"mode {self.mode}: expected {nonsense}, got {parts}, correct_by {self.decoding.correction}"
            )
        grown = self.tree_top * (self.tree_depth - 1)
        if self.decoding.draft == "tree" and grown > MAX_NODES:
            raise ValueError(f"tree_top: expected tree_top * (tree_depth - 1) of at most {MAX_NODES}, got {grown}")

    @property
    def decoding(self) -> DecodingMode:
        """What the mode means, with the parts that the settings choose otherwise (METHOD-1)."""
        named: dict[str, Any] = {
            "draft": self.draft_from,
            "acceptance": self.accept_by,
            "correction": self.correct_by,
            "carry": self.carry,
        }
        mode = MODES[self.mode]
        if mode.draft is None:
            return mode
        chosen = replace(mode, **{part: name for part, name in named.items() if name != AS_MODE})
        return replace(chosen, by_rows=mode.by_rows and chosen.drafts)

    @property
    def model_numbers(self) -> tuple[int, ...]:
        """The models that take part, the target first (CASCADE-1)."""
        return (0, *self.drafters) if self.decoding.drafts else (0,)

    def named(self, name: str | None, otherwise: Any) -> Any:
        """Return the setting of a name; where a mode names none, another value."""
        return otherwise if name is None else getattr(self, name)


# Settings of which None is a value: infinity.
WINDOWS = tuple(item.name for item in fields(Settings) if item.metadata["check"] is _window)
