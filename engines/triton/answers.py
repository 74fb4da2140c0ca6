"""An image, whole or partial, as the tensors of a response."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from mulo_sd.engines.ingress.engine import Drawn
from mulo_sd.engines.ingress.figures import figures
from mulo_sd.engines.ingress.formats import encoded
from mulo_sd.engines.ingress.orders import Job
from mulo_sd.engines.service.image import partial_image
from mulo_sd.engines.service.steps import Step
from mulo_sd.engines.triton.fields import FILE, FINAL, PARTIAL, STATS, image_tensor

NO_PARTIAL = -1


def partial_answer(job: Job, as_file: bool, step: Step, index: int) -> Mapping[str, Any]:
    """Return the tensors of a partial image.

    Args:
        job: Whose image it is.
        as_file: Whether images are files of the job's format, and not pixels.
        step: Of the decode.
        index: Of the partial image, from 0 on.
    """
    image = partial_image(step.shown, job.engine.image_of)
    return _image(job, as_file, image) | {PARTIAL.name: np.array([index], np.int32), FINAL.name: np.array([False])}


def final_answer(job: Job, as_file: bool, drawn: Drawn, request_id: str) -> Mapping[str, Any]:
    """Return the tensors of the image."""
    return _image(job, as_file, drawn.image) | {
        PARTIAL.name: np.array([NO_PARTIAL], np.int32),
        FINAL.name: np.array([True]),
        STATS.name: json.dumps(figures(job, [drawn], request_id)).encode(),
    }


def _image(job: Job, as_file: bool, image: Image.Image) -> dict[str, Any]:
    if as_file:
        return {FILE.name: encoded(image, job.output_format, job.compression)}
    return {image_tensor(image.height, image.width).name: np.asarray(image)}
