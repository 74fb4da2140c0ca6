"""How a file that is no checkpoint is refused."""

from pathlib import Path

import pytest

from mulo_sd.reference.checkpoints.llamagen import load_llamagen
from mulo_sd.reference.weights import WeightsError

SIDE, HEADS = 8, 4


def refusal(path: Path) -> str:
    with pytest.raises(WeightsError) as error:
        load_llamagen(path, SIDE, HEADS)
    told = str(error.value)
    assert told.isprintable()
    assert str(path) in told or str(path.parent) in told
    return told
