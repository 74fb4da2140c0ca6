"""The noise of cells, towards a draft where there is an anchor: made wherever a backend samples."""

from typing import NamedTuple

from mulo_sd.engines.backends.base import Floats, Tokens
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource


class CellNoise(NamedTuple):
    """What is added to log p of n cells, Float32[n, V] (RNG-1, ANCHOR-1).

    Attributes:
        source: Of one stream of one image.
        cells: Int[n], ascending.
        anchor: Adds a bonus towards the draft; None adds none.
    """

    source: NoiseSource
    cells: Tokens
    anchor: Anchor | None

    def on_host(self) -> Floats:
        """Return it in the host's memory."""
        noise = self.source.rows(self.cells)
        return noise if self.anchor is None else noise + self.anchor.bonus(self.cells)
