"""Which cells each pass of a method judges and decides, read off the rules of METHOD-2 to METHOD-5 and the trace."""

from typing import NamedTuple

from mulo_sd.conformance.rules.branches import reach
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.trace import Pass, Speculation, TreeSpeculation


class Method(NamedTuple):
    """The parts of what judges drafts pass by pass (METHOD-1): names of `reference.parts`."""

    draft: str
    acceptance: str
    correction: str
    carry: str

    @property
    def same_noise(self) -> bool:
        """Whether a cell's samples of p share their noise from pass to pass (METHOD-2, METHOD-3)."""
        return self.carry == "same" or self.acceptance == "coupled"


# Of a coarse draft by rows (SWEEP-1).
BY_ROWS = Method("sweep", "lossless", "rows", "kept")
# Of drafters of a cascade above the coarsest one, where `refine_by` is "rounds" (METHOD-4).
IN_ROUNDS = Method("coarse", "lossless", "rounds", "coupled")


def method_of(settings: Settings) -> Method:
    """Return what decides the target's cells; after a round q is that round's p, as with "coupled" (METHOD-4)."""
    mode = settings.decoding
    assert mode.draft is not None
    assert mode.acceptance is not None
    assert mode.correction is not None
    return Method(
        mode.draft, mode.acceptance, mode.correction, "coupled" if mode.correction == "rounds" else mode.carry
    )


class Window(NamedTuple):
    """Cells that a pass scores together.

    Attributes:
        cells: Ascending.
        drafted: Those that hold a draft.
        draws: Whether the first that is not kept is decided as it is drawn.
        row: Whose drafts no other row sees; None where there are no rows.
        after_stand_in: Whether the token before the first cell is not decided.
    """

    cells: list[int]
    drafted: set[int]
    draws: bool = True
    row: int | None = None
    after_stand_in: bool = False


class Speculating:
    """The cells of a set that are still to decide, as far as the trace has told them."""

    def __init__(self, cells: list[int], grid_width: int, settings: Settings, method: Method) -> None:
        self.left, self.width, self.settings, self.method = cells, grid_width, settings, method
        self.rows = [cells[start : start + grid_width] for start in range(0, len(cells), grid_width)]
        self.done = [0] * len(self.rows)
        self.opened, self.made = 1, 0

    @property
    def undecided(self) -> set[int]:
        """The cells of rows that are not decided (METHOD-5)."""
        return {cell for row, done in zip(self.rows, self.done, strict=True) for cell in row[done:]}

    def windows(self) -> list[Window]:
        """Return the windows of the next pass; none once all is decided."""
        match self.method.correction:
            case "rounds":
                return [Window(self.left, set(self.left))] if self.left else []
            case "rows":
                return [window for window in map(self._window_of_row, range(self.opened)) if window.cells]
        settings, first = self.settings, self.left[:1]
        match self.method.draft:
            case "sweep":
                length, drafts = settings.jacobi_window, settings.jacobi_window
            case "head":
                length, drafts = settings.draft_length + 1, 0 if first == [0] else settings.draft_length
            case _:
                is_coarse = self.method.draft == "coarse"
                length, drafts = settings.block + 1, settings.block + is_coarse
        # Of what follows a cell without a draft nothing is known.
        cells = self.left[: min(length, drafts + 1)]
        return [Window(cells, set(cells[:drafts]))] if cells else []

    def _window_of_row(self, row: int) -> Window:
        done, above = self.done[row], self.done[row - 1] if row else self.width
        is_top = above == self.width
        end = self.width if is_top else above
        cells = self.rows[row][done : min(end, done + self.settings.jacobi_window)]
        return Window(cells, set(cells[:-1]), is_top, row, after_stand_in=not (is_top or done))

    def settle(self, windows: list[Window], kept: list[list[bool]]) -> list[int]:
        """Return how many cells of each window are decided, from the left, and go on to the next pass."""
        self.made += 1
        counts = []
        for window, stays in zip(windows, kept, strict=True):
            leading = (*stays, False).index(False)
            if self.method.correction == "rounds":
                count = len(stays) if self.made >= self.settings.rounds else 0
            else:
                count = min(len(stays), leading + window.draws)
            reach("a window is decided as a whole", count == len(stays) > 1)
            reach("a draft is decided", leading > 0 and count > 0)
            reach("a cell is decided as it is drawn", leading < count)
            reach("a row decides nothing", count == 0 and window.row is not None)
            counts.append(count)
            if window.row is not None:
                self.done[window.row] += count
        if self.method.correction == "rows":
            lead = min(self.settings.row_lead, self.width)
            is_next = self.opened < len(self.rows) and self.done[self.opened - 1] >= lead
            self.opened += is_next
            reach("rows are open side by side", len(windows) > 1)
        else:
            self.left = self.left[counts[0] :]
        return counts


class Judged(NamedTuple):
    """What a pass made of a window.

    Attributes:
        window: As the rules have it.
        told: The trace's record of it.
        source: The pass that the logits of its last cell come from.
        attempts: How many passes scored each cell before.
        bare: Cells that had no token before they were guessed (SWEEP-5).
        grid: {cell: token} as the pass read it, drafts included.
        decided: How many of its cells are decided, from the left.
    """

    window: Window
    told: Speculation
    source: Pass
    attempts: list[int]
    bare: frozenset[int]
    grid: dict[int, int]
    decided: int


class TreeJudged(NamedTuple):
    """What a pass made of a tree of drafts.

    Attributes:
        cells: Those that it decided.
        told: The trace's record of it.
        source: The pass, whose own last token stands before the first of the cells.
    """

    cells: list[int]
    told: TreeSpeculation
    source: Pass
