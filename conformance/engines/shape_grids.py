"""Laws of the graphs over grids of tokens: up- and down-samplers from one row to all, and the decoder."""

from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd.conformance.engines.engine_case import CODES
from mulo_sd.conformance.engines.shapes import Level, Note, grid_shape, pairs_of, scaled_rows
from mulo_sd.conformance.subject import Subject
from mulo_sd.reference.latent import LatentScaler
from mulo_sd.reference.models import Models
from mulo_sd.reference.scaling import enlarge, shrink

# Of all codes of a graph, how many may be another as near.
MAX_OTHERS = {"fp32": 0.001, "fp16": 0.02, "bf16": 0.1}


def features_of(models: Models, graph: str, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return the reference's normalised features of the grid that a sampler makes, Float[H, W, d], and the codes."""
    direction, ratio, method = graph.rsplit("_", 2)
    up = direction == "up_sampler"
    if method == "latent":
        samplers = models.latent_up_samplers if up else models.latent_down_samplers
        sampler = cast(LatentScaler, samplers[int(ratio)])
        return sampler.features(tokens[None])[0], sampler.codebook
    images = models.tokenizer.images_from_tokens(tokens[None])
    resized = enlarge(images, int(ratio), method) if up else shrink(images, int(ratio), method)
    return models.tokenizer.features(resized)[0], F.normalize(models.tokenizer.codebook.float(), dim=-1)


class _Tally:
    """Counts the codes of one graph, and those that are as near as the nearest."""

    def __init__(self, subject: Subject, graph: str) -> None:
        self.subject, self.graph = subject, graph
        self.total = self.others = 0

    def hold(self, tokens: NDArray[np.int64], scaled: NDArray[np.int64]) -> None:
        """Hold the codes that an engine made of tokens against the nearest ones."""
        with torch.inference_mode():
            features, codes = features_of(self.subject.models, self.graph, torch.from_numpy(tokens))
            products = (features.double() @ codes.double().t()).numpy()
        what = f"{self.graph} of {tokens.shape[0]} x {tokens.shape[1]} tokens"
        assert scaled.shape == products.shape[:2], f"{what}: {scaled.shape} codes, expected {products.shape[:2]}"
        assert 0 <= scaled.min() <= scaled.max() < products.shape[2], f"{what}: a code that is none"
        behind = products.max(axis=2) - np.take_along_axis(products, scaled[..., None], axis=2)[..., 0]
        wrong = behind > CODES[self.subject.precision]
        assert not wrong.any(), (
            f"{what}: {int(wrong.sum())} of {wrong.size} codes are not the nearest, the first in row "
            f"{np.argwhere(wrong)[0][0]}, column {np.argwhere(wrong)[0][1]}"
        )
        self.total += scaled.size
        self.others += int((scaled != products.argmax(axis=2)).sum())

    def check(self) -> None:
        """Fail where too many codes are another as near."""
        most = max(2.0, MAX_OTHERS[self.subject.precision] * self.total)
        assert self.others <= most, f"{self.graph}: {self.others} of {self.total} codes are others, at most {most:.0f}"


def _tokens(subject: Subject, number: int) -> NDArray[np.int64]:
    """Return random tokens on a model's grid."""
    entry = subject.pipeline.bundle.manifest.models[number]
    random = np.random.default_rng(number)
    return random.integers(0, entry.vocabulary, (entry.grid_height, entry.grid_width))


def grids_are_scaled(subject: Subject, level: Level, note: Note) -> None:
    """SCALE-1, SCALE-2, CONF-2: from one row to all, U_r and D_r choose the nearest codes."""
    manifest, backend = subject.pipeline.bundle.manifest, subject.pipeline.backend
    for graph in manifest.graphs:
        up = graph.startswith("up_sampler")
        if not up and not graph.startswith("down_sampler"):
            continue
        if graph.endswith("latent") and "latent" not in subject.capabilities:
            continue
        tally = _Tally(subject, graph)
        for number, draft_number in pairs_of(manifest, graph):
            grid = _tokens(subject, draft_number if up else number)
            factor = 1 if up else manifest.scale_ratio(number, draft_number)
            for rows in scaled_rows(manifest, number, draft_number, level):
                tokens = np.ascontiguousarray(grid[: factor * rows])
                outputs = backend.run(graph, {"low_tokens" if up else "high_tokens": tokens})
                tally.hold(tokens, outputs["high_tokens" if up else "low_tokens"])
                note(grid_shape(graph, *tokens.shape))
        tally.check()


def grids_are_decoded(subject: Subject, level: Level, note: Note) -> None:
    """CONF-2: the decoder makes the reference's image of a whole grid, up to its edges."""
    backend, manifest = subject.pipeline.backend, subject.pipeline.bundle.manifest
    tokens, tolerance = _tokens(subject, 0), manifest.graphs["decoder"].tolerance
    drawn = backend.run("decoder", {"tokens": tokens})["image"]
    with torch.inference_mode():
        image = subject.models.tokenizer.images_from_tokens(torch.from_numpy(tokens)[None])[0]
    expected = ((image + 1) * 127.5).clamp(0, 255).permute(1, 2, 0).numpy()
    assert drawn.shape == expected.shape, f"an image of {drawn.shape}, expected {expected.shape}"
    off = np.abs(drawn - expected).max(axis=2)
    wrong = ~(off <= tolerance)
    assert not wrong.any(), (
        f"an image of {tokens.shape[0]} x {tokens.shape[1]} tokens: {int(wrong.sum())} pixels are off, the first in "
        f"row {np.argwhere(wrong)[0][0]}, column {np.argwhere(wrong)[0][1]}, by {off.max():.4g} of 255 at most"
    )
    note(grid_shape("decoder", *tokens.shape))
