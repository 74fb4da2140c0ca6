"""A share of a run: of N processes, each on its own machine perhaps, one draws every N-th image."""

import re
from typing import NamedTuple

from mulo_sd.engines.commands.layouts import LayoutError

MAX_SHARES = 1_000_000


class Share(NamedTuple):
    """The images that a process draws: those whose number n in the whole run has n mod `of` = `number` - 1.

    Attributes:
        number: 1..of.
        of: How many shares there are.
    """

    number: int = 1
    of: int = 1

    def holds(self, image: int) -> bool:
        """Return whether an image belongs to it, by its number in the whole run, from 0 on."""
        return image % self.of == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


WHOLE = Share()


def share_from_text(text: str | None) -> Share:
    """Return the share that an option asks for; None is the whole run.

    Raises:
        LayoutError: the text is no share.
    """
    if text is None:
        return WHOLE
    match = re.fullmatch(r"([0-9]{1,7})/([0-9]{1,7})", text)
    share = Share(int(match[1]), int(match[2])) if match else None
    if share is None or not 1 <= share.number <= share.of <= MAX_SHARES:
        raise LayoutError(
            f"--shard: expected a share such as 2/8, the second of eight, of at most {MAX_SHARES}, got {text!r:.40}"
        )
    return share
