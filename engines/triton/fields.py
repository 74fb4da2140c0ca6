"""The tensors of the model: what a request holds, and what a response does.

Texts are bytes of UTF-8 in UINT8: a Python backend that was built for numpy 1, as that of Triton 2.51, cannot read
BYTES with the numpy 2 that the engines need.
"""

from typing import NamedTuple

SETTINGS_FIELDS = ("quality", "preset", "output_format", "output_compression")


class Tensor(NamedTuple):
    """A tensor of the model's configuration.

    Attributes:
        name: As requests and responses call it.
        kind: Its type, as the configuration calls it.
        shape: -1 is any length.
        meaning: In words.
        optional: Whether a request may lack it.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    meaning: str
    optional: bool = False


PROMPT = Tensor("PROMPT", "TYPE_UINT8", (-1,), "what to draw, in UTF-8")
SEED = Tensor("SEED", "TYPE_UINT64", (1,), "of the noise; 0 by default: the same request, the same image", True)
SETTINGS = Tensor(
    "SETTINGS",
    "TYPE_UINT8",
    (-1,),
    f"a JSON object in UTF-8: {', '.join(SETTINGS_FIELDS)}, and any setting by its name",
    True,
)
PARTIAL_IMAGES = Tensor("PARTIAL_IMAGES", "TYPE_INT32", (1,), "0..3 responses before the image", True)
DEADLINE = Tensor("DEADLINE", "TYPE_FP32", (1,), "seconds, at most the model's own", True)
INPUTS = (PROMPT, SEED, SETTINGS, PARTIAL_IMAGES, DEADLINE)

FILE = Tensor("FILE", "TYPE_UINT8", (-1,), "the image as a file, where SETTINGS asks for an output_format")
PARTIAL = Tensor("PARTIAL", "TYPE_INT32", (1,), "0, 1, 2: which partial image it is; -1: the image")
FINAL = Tensor("FINAL", "TYPE_BOOL", (1,), "whether it is the image")
STATS = Tensor("STATS", "TYPE_UINT8", (-1,), "of the image: JSON in UTF-8 with tokens, passes, seconds and settings")


def image_tensor(height: int, width: int) -> Tensor:
    """Return the tensor of the pixels of images of a size."""
    return Tensor("IMAGE", "TYPE_UINT8", (height, width, 3), "RGB, where SETTINGS asks for no output_format")


def outputs(height: int, width: int) -> tuple[Tensor, ...]:
    """Return the outputs of a model whose images have a size."""
    return (image_tensor(height, width), FILE, PARTIAL, FINAL, STATS)
