"""The direct API's images, which those of a service are held against."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mulo_sd import engines


class Expected:
    """The direct API's images."""

    def __init__(self, bundle: Path) -> None:
        self.pipeline = engines.load(bundle, threads=1)

    def is_right(self, order: dict[str, Any], content: dict[str, Any]) -> bool:
        """Whether an answer holds the image of its order."""
        fields = {name: order[name] for name in ("prompt", "seed", "mode") if name in order}
        image = np.asarray(self.pipeline.generate(**fields).image)
        got = np.asarray(Image.open(io.BytesIO(base64.b64decode(content["b64_json"]))))
        return got.shape == image.shape and bool((got == image).all())
