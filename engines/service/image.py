"""Tokens to an image, by the bundle's decoder."""

from collections.abc import Callable

import numpy as np
from PIL import Image

from mulo_sd.engines.backends.answers import run
from mulo_sd.engines.backends.base import Backend, BackendError
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.loop.state import Tokens
from mulo_sd.engines.numbers import token_grid

# Where there is no token yet.
GREY = 128


def partial_image(tokens: Tokens, image_from_tokens: Callable[[Tokens], Image.Image]) -> Image.Image:
    """Make an RGB image of tokens, Int[H, W], some of which are missing: cells of -1 are grey."""
    missing = tokens < 0
    image = np.array(image_from_tokens(np.where(missing, 0, tokens)))
    pixels = image.shape[0] // len(tokens)
    image[missing.repeat(pixels, axis=0).repeat(pixels, axis=1)] = GREY
    return Image.fromarray(image)


def image_from_tokens(bundle: Bundle, backend: Backend, tokens: Tokens) -> Image.Image:
    """Decode tokens, Int[H, W], to an RGB image.

    Raises:
        SettingsError: they are no grid of the target's codes.
        BackendError: the decoder answers with pixels of another shape or dtype, or with some that are not finite.
    """
    tokens = token_grid("tokens", tokens, bundle.manifest.target.vocabulary)
    height, width = (bundle.manifest.token_pixels * side for side in tokens.shape)
    pixels = run(backend, "decoder", {"tokens": tokens}, image=(np.float32, (height, width, 3)))[0]
    if not np.isfinite(pixels).all():  # they would become some colour
        wrong = int((~np.isfinite(pixels)).sum())
        raise BackendError(
            f"graph decoder, on backend {backend.name}: expected finite pixels, got {wrong} others of "
            f"{pixels.size}; build the bundle in fp32"
        )
    return Image.fromarray(np.rint(pixels).astype(np.uint8))
