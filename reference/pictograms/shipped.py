"""The shipped models of pictograms: a folder of trained models beside this module."""

from pathlib import Path

from mulo_sd.reference.trained import Trained, load_trained
from mulo_sd.reference.weights import WeightsError

SHIPPED = Path(__file__).parent / "weights"


def load() -> Trained:
    """Load them.

    Raises:
        WeightsError: they are not there, or a file is missing or has changed.
    """
    if not SHIPPED.is_dir():
        raise WeightsError("pictograms: the weights are not shipped yet; build --models demo, or --trained DIR")
    return load_trained(SHIPPED)
