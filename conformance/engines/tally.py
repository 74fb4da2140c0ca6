"""Counts decisions that must be the reference's, near-ties aside."""

from mulo_sd.conformance.engines.replay import Replayed
from mulo_sd.conformance.rules.branches import NEAR_TIE, reach


class Tally:
    """Counts decisions and near-ties of one kind, and fails at the first that differs without being one."""

    def __init__(self, replayed: Replayed) -> None:
        self.replayed, self.total, self.near_ties = replayed, 0, 0

    def add(self, equal: bool, near_tie: bool, what: str) -> None:
        """Count one decision."""
        self.total += 1
        self.near_ties += bool(near_tie)
        assert equal or near_tie, f"{what}: decided otherwise than the reference, and no near-tie"

    def check(self) -> None:
        """Fail where there were too many near-ties: one is none."""
        most = max(1.0, self.replayed.max_near_ties * self.total)
        reach(NEAR_TIE, count=self.near_ties)
        assert self.near_ties <= most, (
            f"{self.near_ties} near-ties among {self.total} decisions, expected at most {most:.0f} (--near-ties)"
        )
