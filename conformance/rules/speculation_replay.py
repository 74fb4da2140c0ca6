"""Methods replayed from a trace: which windows and trees of drafts its passes judged, and what became of them."""

from collections import Counter
from collections.abc import Mapping

from mulo_sd.conformance.rules.moments import Replay, RowView
from mulo_sd.conformance.rules.speculating import Judged, Speculating, TreeJudged, Window
from mulo_sd.reference.trace import Speculation


class SpeculationReplay:
    """Tells how a set of cells was decided pass by pass (METHOD-2 to METHOD-6).

    Args:
        replay: Of the model; goes on with every pass.
        prefix_length: P of GRID-2.
        is_target: Whether it is the target, whose rows do not see each other's drafts.
        proposal: {cell: token} of a coarse draft, which takes its place again in every pass; None elsewhere.
    """

    def __init__(self, replay: Replay, prefix_length: int, is_target: bool, proposal: Mapping[int, int] | None) -> None:
        self.replay, self.prefix_length, self.is_target, self.proposal = replay, prefix_length, is_target, proposal
        self.scored: Counter[int] = Counter()
        self.told: Counter[int] = Counter()  # windows told of each pass, by its identity

    def run(self, speculating: Speculating) -> list[list[Judged]]:
        """Tell all passes; return what each made of its windows."""
        passes = []
        while windows := speculating.windows():
            passes.append(self._pass(speculating, windows))
        return passes

    def _pass(self, speculating: Speculating, windows: list[Window]) -> list[Judged]:
        replay, cells = self.replay, sorted(cell for window in windows for cell in window.cells)
        if self.proposal is not None:
            wrong = {cell for window in windows for cell in window.drafted if replay.grid[cell] != self.proposal[cell]}
            replay.put({cell: self.proposal[cell] for cell in wrong})
        bare = {cell for window in windows for cell in window.drafted if cell not in replay.grid}
        told = [self._upcoming(cells, window) for window in windows]
        for window, item in zip(windows, told, strict=True):
            guesses = dict(zip(window.cells, item.guesses.tolist(), strict=True))
            drawn_anew = speculating.method.draft in ("head", "block")
            replay.put({cell: guesses[cell] for cell in (window.drafted if drawn_anew else window.drafted & bare)})
        grid = dict(replay.grid)
        replay.step(cells, {cell for window in windows for cell in window.cells[:-1]}, self._rows(windows, speculating))
        counts = speculating.settle(windows, [item.kept.tolist() for item in told])
        judged: list[Judged] = []
        for window, item, count in zip(windows, told, counts, strict=True):
            standing = [grid[cell] for cell in window.cells if cell in window.drafted]
            drafts = [
                guess for guess, drafted in zip(item.guesses.tolist(), item.drafted.tolist(), strict=True) if drafted
            ]
            assert item.drafted.tolist() == [cell in window.drafted for cell in window.cells], (
                f"cells {window.cells}: the pass tells drafts {item.drafted.tolist()}, expected those of "
                f"{sorted(window.drafted)}"
            )
            assert drafts == standing, f"cells {window.cells}: drafts {drafts}, but the grid holds {standing}"
            decided = [place < count for place in range(len(window.cells))]
            assert item.decided.tolist() == decided, (
                f"cells {window.cells}: decides {item.decided.tolist()}, expected {count} of {item.kept.tolist()} kept"
            )
            attempts = [self.scored[cell] for cell in window.cells]
            self.scored.update(window.cells)
            source = replay.source(window.cells)
            judged.append(Judged(window, item, source, attempts, frozenset(bare), grid, count))
            self._settle(judged[-1])
        return judged

    def _upcoming(self, cells: list[int], window: Window) -> Speculation:
        """Return the trace's record of a window that the next pass serves, or for cell 0 alone the prefill."""
        replay = self.replay
        assert cells == [0] or replay.left, f"expected a pass for cells {cells}, but the trace has no further one"
        made = replay.prefill if cells == [0] or not replay.left else replay.left[0]
        index = self.told[id(made)]
        assert index < len(made.speculated), f"cells {window.cells}: their pass tells nothing of them"
        self.told[id(made)] += 1
        replay.judged += 1
        item = made.speculated[index]
        assert item.cells.tolist() == window.cells, f"judges cells {item.cells.tolist()}, expected {window.cells}"
        return item

    def _rows(self, windows: list[Window], speculating: Speculating) -> RowView | None:
        queried, drafted = dict[int, int](), dict[int, int]()
        for window in windows:
            if window.row is None:
                return None
            queried |= dict.fromkeys(window.cells, window.row)
            drafted |= dict.fromkeys(window.cells[:-1], window.row)
            if window.after_stand_in:
                drafted[window.cells[0] - 1] = window.row
        settled, self.replay.settled = self.replay.settled, set()
        if not self.is_target:
            return RowView({}, {}, speculating.undecided, settled)
        return RowView(queried, drafted, speculating.undecided, settled)

    def _settle(self, judged: Judged) -> None:
        """Write what is decided, and the next drafts."""
        fed = set((judged.source.positions - self.prefix_length).tolist())
        for place, (cell, token) in enumerate(zip(judged.window.cells, judged.told.tokens.tolist(), strict=True)):
            is_same = self.replay.grid.get(cell) == token
            if place < judged.decided and not (cell in fed and is_same):
                self.replay.decide(cell, token)
            elif place < judged.decided:
                self.replay.settled.add(cell)
            elif not is_same:
                self.replay.put({cell: token})


def tell_trees(replay: Replay, cells: list[int]) -> list[TreeJudged]:
    """Tell how cells were decided by trees, each of which a pass judges (METHOD-6)."""
    judged, left = [], list(cells)
    while left:
        replay.step(left[:1])
        source = replay.source(left[:1])
        assert len(source.trees) == 1, f"cell {left[0]}: its pass tells {len(source.trees)} trees"
        [told] = source.trees
        replay.judged += 1
        assert told.cell == left[0], f"a tree of cell {told.cell}, expected one of {left[0]}"
        tokens = told.decided.tolist()
        assert 1 <= len(tokens) <= len(left), f"cell {left[0]}: {len(tokens)} tokens of {len(left)} cells left"
        judged.append(TreeJudged(left[: len(tokens)], told, source))
        for cell, token in zip(left, tokens, strict=False):
            replay.decide(cell, token)
        del left[: len(tokens)]
    return judged
