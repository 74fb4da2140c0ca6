"""What is told of files that are left out: a line each, but no flood."""

from collections.abc import Callable

from mulo_sd.reference.train.folder.names import shown
from mulo_sd.reference.train.folder.problems import Problem

MOST = 1000  # lines


class Teller:
    """Says each problem in a line; from some number on, that there are more."""

    def __init__(self, say: Callable[[str], None], where: str) -> None:
        """Begin.

        Args:
            say: Shows a line.
            where: The file in which all of them will stand.
        """
        self.say, self._where = say, where
        self._told = 0

    def problem(self, problem: Problem) -> None:
        """Say that something is left out."""
        self._told += 1
        if self._told <= MOST:
            self.say(f"left out: {shown(problem.name)}: {problem.kind}: {shown(problem.why)}")
        elif self._told == MOST + 1:
            self.say(f"left out: more than {MOST}; all of them will stand in {self._where}")
