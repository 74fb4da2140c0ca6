"""Outputs that a decode reads in part, or only with some settings: all of each is right (CONF-1, CONF-2)."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from mulo_sd.conformance.engines.engine_case import CODES
from mulo_sd.conformance.engines.engine_laws import PIXEL_ROUNDING
from mulo_sd.conformance.engines.probes.probe import random_condition_of
from mulo_sd.conformance.rules.cycle_laws import agree
from mulo_sd.conformance.rules.oracle_model import rescaled_tokens
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.bundle.contract import down_sampler_graph, up_sampler_graph
from mulo_sd.engines.passes.transformer import TransformerSession


def _scalers(subject: Subject) -> Iterator[tuple[str, int, int, int, bool, str]]:
    """Tell the up- and down-samplers of a bundle: graph, both models, ratio, whether it enlarges, name."""
    manifest = subject.pipeline.bundle.manifest
    for high in range(len(manifest.models)):
        for low in range(high + 1, len(manifest.models)):
            ratio = manifest.scale_ratio(high, low)
            for name in ("bicubic", "bilinear", "nearest", "area", "latent"):
                if up_sampler_graph(ratio, name) in manifest.graphs:
                    yield up_sampler_graph(ratio, name), high, low, ratio, True, name
                if down_sampler_graph(ratio, name) in manifest.graphs:
                    yield down_sampler_graph(ratio, name), high, low, ratio, False, name


def scaled_grids_are_right_as_a_whole(subject: Subject) -> None:
    """SCALE-1, SCALE-2: U_r and D_r are right in every row, in those too that a cycle takes nothing from."""
    manifest, rng = subject.pipeline.bundle.manifest, np.random.default_rng(51)
    for graph, high, low, ratio, enlarges, name in _scalers(subject):
        entry = manifest.models[low if enlarges else high]
        step = 1 if enlarges else ratio
        for rows in sorted({step, entry.grid_height // 2 // step * step or step, entry.grid_height}):
            tokens = rng.integers(0, entry.vocabulary, (rows, entry.grid_width))
            inputs, output = ("low_tokens", "high_tokens") if enlarges else ("high_tokens", "low_tokens")
            found = subject.pipeline.backend.run(graph, {inputs: tokens})[output]
            expected, margin = rescaled_tokens(subject.models, torch.from_numpy(tokens), ratio, enlarges, name)
            agree(f"{graph} of {rows} rows", torch.from_numpy(found), expected, margin, CODES[subject.precision])


def images_are_right_for_any_tokens(subject: Subject) -> None:
    """CONF-2: the decoder's image of random tokens is the reference's, one after another."""
    pipeline, rng = subject.pipeline, np.random.default_rng(52)
    entry = pipeline.bundle.manifest.target
    tolerance = pipeline.bundle.manifest.graphs["decoder"].tolerance
    for _ in range(2):
        tokens = rng.integers(0, entry.vocabulary, (entry.grid_height, entry.grid_width))
        found = pipeline.backend.run("decoder", {"tokens": tokens})["image"]
        with torch.inference_mode():
            image = subject.models.tokenizer.images_from_tokens(torch.from_numpy(tokens)[None])[0]
        expected = ((image + 1) * 127.5).clamp(0, 255).permute(1, 2, 0).numpy()
        assert found.shape == expected.shape, f"decoder: an image of shape {found.shape}, expected {expected.shape}"
        off = float(np.abs(found - expected).max())
        most = tolerance + PIXEL_ROUNDING
        assert off <= most, f"decoder: a pixel is off by {off:.4g} of 255, expected at most {most:.4g}"


def last_scores_outlive_the_next_pass(subject: Subject) -> None:
    """GRID-2: the scores of a prefix's last row, of which cell 0 is drawn after a verification, stay as they are."""
    pipeline = subject.pipeline
    entry = pipeline.bundle.manifest.target
    session = TransformerSession(pipeline.backend, entry, random_condition_of(subject, 80, False).numpy())
    first = session.prefill()
    expected: NDArray[np.float32] = first.logits()[:, -1:].copy()
    last = first.last()
    session.feed(np.arange(3), np.array([1, 0, 2]))
    found = last.logits()
    assert found.shape == expected.shape, f"last(): logits of shape {found.shape}, expected {expected.shape}"
    off = float(np.abs(found - expected).max())
    assert off == 0, f"last(): after another pass its logits are off by {off:.3g}"
