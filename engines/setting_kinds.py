"""Kinds of settings: what values one may have, how a command line writes it, and how it is checked.

`values` says in words what is allowed. `check` returns a value in Python's own types, or raises SettingsError in one
line that begins with the setting's name. `parse` reads the text of an option, unchecked, or raises ValueError with what
was expected; flags and choices have none, since `argparse` reads those.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

from mulo_sd.engines.numbers import SettingsError, real_number, truth, whole_number

# No grid or codebook is larger; a number beyond would only cost memory.
MAX_COUNT = 2**20
MAX_DRAFTERS = 8
# Smaller temperatures overflow float32 in the division; published code takes this one instead, and we refuse them.
MIN_TEMPERATURE = 1e-5
INFINITE = "infinite"
ALL, AUTO = "all", "auto"


@dataclass(frozen=True)
class Whole:
    """A whole number of a range."""

    least: int
    most: int = MAX_COUNT

    @property
    def values(self) -> str:
        """The range."""
        return f"{self.least}..{self.most}"

    def check(self, name: str, value: object) -> int:
        """Return it as Python's."""
        return whole_number(name, value, self.least, self.most)

    def parse(self, text: str) -> int:
        """Read it."""
        try:
            return int(text)
        except ValueError:
            raise ValueError(f"expected a whole number, got {text!r:.80}") from None


@dataclass(frozen=True)
class Real:
    """A finite number of a range.

    Attributes:
        least: The smallest.
        most: The largest.
        above: Whether the smallest itself is left out.
        zero_or: Besides 0, the smallest that is allowed.
    """

    least: float
    most: float
    above: bool = False
    zero_or: float = 0.0

    @property
    def values(self) -> str:
        """The range."""
        if self.zero_or:
            return f"0, or {self.zero_or:g}..{self.most:g}"
        return f"above {self.least:g}, at most {self.most:g}" if self.above else f"{self.least:g}..{self.most:g}"

    def check(self, name: str, value: object) -> float:
        """Return it as Python's."""
        number = real_number(name, value, self.least, self.most)
        if (self.above and number == self.least) or 0 < abs(number) < self.zero_or:
            wanted = "0 (greedy) or a number in " if self.zero_or else "a number "
            raise SettingsError(f"{name}: expected {wanted}{self.values.removeprefix('0, or ')}, got {value!r:.80}")
        return number

    def parse(self, text: str) -> float:
        """Read it."""
        try:
            return float(text)
        except ValueError:
            raise ValueError(f"expected a number, got {text!r:.80}") from None


@dataclass(frozen=True)
class Window:
    """A number of cells from 1 on; None is infinite."""

    values: str = f"1..{MAX_COUNT}, or {INFINITE}"
    none: ClassVar[str] = INFINITE  # how text says None

    def check(self, name: str, value: object) -> int | None:
        """Return it as Python's."""
        return None if value is None else whole_number(name, value, 1, MAX_COUNT)

    def parse(self, text: str) -> int | None:
        """Read it; an infinite one is written as a word."""
        try:
            return None if text == self.none else int(text)
        except ValueError:
            raise ValueError(f"expected a whole number or '{INFINITE}', got {text!r:.80}") from None


@dataclass(frozen=True)
class Width:
    """A number of cells from 1 on; None is all, and AUTO what the machine is fastest with."""

    values: str = f"1..{MAX_COUNT}, {ALL} or {AUTO}"
    none: ClassVar[str] = ALL

    def check(self, name: str, value: object) -> int | Literal["auto"] | None:
        """Return it as Python's."""
        if isinstance(value, str) and value == AUTO:
            return "auto"
        try:
            return Window().check(name, value)
        except SettingsError:
            wanted = f"a whole number in 1..{MAX_COUNT}, None ({ALL}) or {AUTO!r}"
            raise SettingsError(f"{name}: expected {wanted}, got {value!r:.80}") from None

    def parse(self, text: str) -> int | str | None:
        """Read it; all and automatic ones are written as words."""
        try:
            return text if text == AUTO else None if text == self.none else int(text)
        except ValueError:
            raise ValueError(f"expected a whole number, '{ALL}' or '{AUTO}', got {text!r:.80}") from None


@dataclass(frozen=True)
class Flag:
    """True or False."""

    values: str = "true or false"

    def check(self, name: str, value: object) -> bool:
        """Return it as Python's."""
        return truth(name, value)


@dataclass(frozen=True)
class Choice:
    """One of some names."""

    names: tuple[str, ...]

    @property
    def values(self) -> str:
        """The names."""
        return ", ".join(self.names)

    def check(self, name: str, value: object) -> str:
        """Return it."""
        if not isinstance(value, str) or value not in self.names:
            raise SettingsError(f"{name}: expected one of {self.values}, got {value!r:.80}")
        return value


@dataclass(frozen=True)
class Drafters:
    """Numbers of the models that draft, ascending; a single number is one drafter (CASCADE-1)."""

    values: str = f"numbers of models in 1..{MAX_DRAFTERS}, ascending"

    def check(self, name: str, value: object) -> tuple[int, ...]:
        """Return them as Python's."""
        if isinstance(value, Iterable) and not isinstance(value, str | bytes) and getattr(value, "ndim", 1) == 1:
            # One more than there may be, so that no endless iterable is read.
            listed = [number for number, _ in zip(value, range(MAX_DRAFTERS + 1), strict=False)]
            numbers = tuple(whole_number(f"{name}.{at}", number, 1, MAX_DRAFTERS) for at, number in enumerate(listed))
        else:
            numbers = (whole_number(name, value, 1, MAX_DRAFTERS),)
        if not numbers or list(numbers) != sorted(set(numbers)):
            raise SettingsError(f"{name}: expected numbers of models from 1 on, ascending, got {value!r:.80}")
        return numbers

    def parse(self, text: str) -> tuple[int, ...]:
        """Read them, with commas between."""
        try:
            return tuple(int(part) for part in text.split(","))
        except ValueError:
            raise ValueError(f"expected numbers of models, such as 1 or 1,2, got {text!r:.80}") from None


Kind = Whole | Real | Window | Width | Flag | Choice | Drafters


@dataclass(frozen=True)
class Setting:
    """What a setting is; its name, type and default stand beside it in `Settings`.

    Attributes:
        kind: The values that it may have.
        rule: Of docs/semantics.md.
        purpose: In one line, for help.
        option: On a command line, where it is another word than the name.
    """

    kind: Kind
    rule: str
    purpose: str
    option: str | None = None
