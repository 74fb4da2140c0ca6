"""The shipped weights: what the training command produced, with cards and hashes.

They lie beside this module. A checkout holds them; an installed package has them from the distribution mulo-sd-demo.
"""

from pathlib import Path

from mulo_sd.reference.weights import WeightsError

SHIPPED = Path(__file__).parent / "weights"


def shipped_file(name: str) -> Path:
    """Return the path of a shipped file, which `check_hashes` holds against its card.

    Args:
        name: Of the file, such as "tokenizer.safetensors".

    Raises:
        WeightsError: the demo is not installed, or the file is missing.
    """
    if not SHIPPED.is_dir():
        raise WeightsError('the demo\'s weights are not installed; install them with `pip install "mulo-sd[demo]"`')
    path = SHIPPED / name
    if not path.is_file():
        raise WeightsError(f"{path}: expected a file of the demo, found none; install mulo-sd-demo again")
    return path
