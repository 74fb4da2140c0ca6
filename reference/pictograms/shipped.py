"""The shipped models of pictograms: a folder of trained models beside this module.

A checkout holds them; an installed package has them from the distribution mulo-sd-demo.
"""

from pathlib import Path

from mulo_sd.reference.trained import Trained, load_trained
from mulo_sd.reference.weights import WeightsError

SHIPPED = Path(__file__).parent / "weights"


def load() -> Trained:
    """Load them.

    Raises:
        WeightsError: they are not installed, or a file is missing or has changed.
    """
    if not SHIPPED.is_dir():
        raise WeightsError(
            'the pictograms\' weights are not installed; install them with `pip install "mulo-sd[demo]"`'
        )
    return load_trained(SHIPPED)
