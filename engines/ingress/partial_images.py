"""Which steps of a decode are worth sending while it runs."""

from mulo_sd.engines.loop.state import Tokens
from mulo_sd.engines.service.steps import Cell, Step


def share_shown(step: Step) -> float:
    """Return how far an image is, 0..1: a draft token counts half."""
    shown = step.cells.size - step.counts[Cell.EMPTY] - step.counts[Cell.GUESS]
    return (shown + step.decided) / (2 * step.cells.size)


class PartialImages:
    """Chooses the steps that are sent as partial images: at even shares of the image, no image twice."""

    def __init__(self, count: int) -> None:
        """Choose so many of them at most."""
        self.count, self.sent, self.threshold = count, 0, 1
        self.shown: Tokens | None = None

    def wants(self, step: Step) -> bool:
        """Whether a step is the next one."""
        share = share_shown(step) * (self.count + 1)
        if step.model != 0 or self.sent >= self.count or share < self.threshold or step.kind == "decided":
            return False
        self.threshold = int(share) + 1
        shown = step.shown
        if self.shown is not None and (shown == self.shown).all():
            return False
        self.sent, self.shown = self.sent + 1, shown
        return True
