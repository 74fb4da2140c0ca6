"""Laws that need the engine itself, and not only what one decode left: other runs, other settings, the image."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch

from mulo_sd import engines
from mulo_sd.conformance.engines.engine_case import EngineCase, run
from mulo_sd.conformance.rules.branches import reach
from mulo_sd.engines.backends.host_scores import distribution_inputs
from mulo_sd.reference.decode import Decoded

FAR_BELOW = -300.0  # the probability of such a logit is 0 in float32
PIXEL_ROUNDING = 0.5 + 1e-3  # an image holds whole numbers


def same(one: Decoded, other: Decoded) -> bool:
    """Return whether two decodes made the same passes and the same decisions."""
    return torch.equal(one.tokens, other.tokens) and [
        (item.model, item.positions.tolist(), item.tokens.tolist(), item.sampled) for item in one.trace.passes
    ] == [(item.model, item.positions.tolist(), item.tokens.tolist(), item.sampled) for item in other.trace.passes]


def judged_tokens(decoded: Decoded) -> dict[int, int]:
    """Return {cell: token} of what the target decided by windows and trees of drafts (METHOD-2 to METHOD-6)."""
    windows = [item for made in decoded.trace.passes if made.model == 0 for item in made.speculated]
    trees = [item for made in decoded.trace.passes for item in made.trees]
    decided = {
        cell: token
        for item in windows
        for cell, token, is_decided in zip(
            item.cells.tolist(), item.tokens.tolist(), item.decided.tolist(), strict=True
        )
        if is_decided
    }
    return decided | {item.cell + place: token for item in trees for place, token in enumerate(item.decided.tolist())}


def tokens_are_what_was_decided(case: EngineCase, decoded: Decoded) -> None:
    """GRID-1, MODE-AR, MODE-ZIPAR: the grid is the target's, and each cell holds what was decided for it."""
    assert tuple(decoded.tokens.shape) == case.grid(0)
    assert int(decoded.tokens.min()) >= 0
    assert int(decoded.tokens.max()) < case.codes
    tokens = decoded.tokens.flatten().tolist()
    if not case.settings.decoding.drafts:
        drawn = {cell: token for item in decoded.trace.passes for _, cell, token in item.sampled}
        drawn |= {again.cell: again.token for item in decoded.trace.passes for again in item.repredicted}
        drawn |= judged_tokens(decoded)
        assert drawn == dict(enumerate(tokens))
        assert not decoded.trace.cycles
        return
    for cycle in decoded.trace.cycles_of(0):
        assert torch.equal(decoded.tokens[cycle.first_row : cycle.last_row], cycle.tokens)


def rejecting_everything_is_autoregressive(case: EngineCase, decoded: Decoded) -> None:
    """MODE-SERIAL, MODE-PARALLEL: with tau = 2, raster order, no anchor and no limit, the image is MODE-AR's."""
    own = replace(case.settings, accept_by="mode")
    rejecting = replace(own, tau=2.0, anchor=0.0, island_window=None, islands=False, sweeps=None)
    drafted = run(replace(case, settings=rejecting))
    alone = run(replace(case, settings=replace(own, mode="ar"), draft=None))
    different = (drafted.tokens != alone.tokens).flatten().nonzero().flatten().tolist()
    # Passes of other shapes round otherwise: in half precision one near-tie parts the images.
    assert not different or case.subject.precision != "fp32", f"the first cell that differs is {different[0]}"
    reach("the images are the same", not different)
    assert not any(bool(cycle.kept.any()) for cycle in drafted.trace.cycles_of(0))


def sums_may_meet_top_p(case: EngineCase, decoded: Decoded) -> None:
    """DIST-1: where the more likely codes sum to top-p exactly the next is kept, of equal logits the lower codes.

    Models hardly ever give equal logits; these are made so that no sum is rounded.
    """
    backend, places = case.subject.pipeline.backend, np.arange(case.codes)
    for equal in (count for count in (2, 4, 8, 16) if count <= case.codes):
        logits = np.full((2, 1, case.codes), FAR_BELOW, dtype=np.float32)
        chosen = places[1::2][-equal:] if case.codes >= 2 * equal else places[:equal]
        logits[:, :, chosen] = 1
        for met in range(1, equal):
            settings = engines.Settings(guidance_scale=1, top_p=met / equal)
            inputs = distribution_inputs(logits, settings.distribution) | {"noise": np.zeros_like(logits[0])}
            kept = np.flatnonzero(np.isfinite(backend.run("sampler", inputs)["log_probs"][0])).tolist()
            expected = chosen[: met + 1].tolist()
            assert kept == expected, (
                f"{equal} codes of equal logits at top-p {met / equal:g}: kept {kept}, expected {expected}"
            )


def images_are_the_references(case: EngineCase, decoded: Decoded) -> None:
    """CONF-2: the image is what the reference's decoder makes of the same tokens, within the bundle's tolerance."""
    pipeline = case.subject.pipeline
    found = np.asarray(pipeline.image_from_tokens(decoded.tokens.numpy())).astype(np.float64)
    with torch.inference_mode():
        image = case.models.tokenizer.images_from_tokens(decoded.tokens[None])[0]
    expected = ((image + 1) * 127.5).clamp(0, 255).permute(1, 2, 0).double().numpy()
    tolerance = pipeline.bundle.manifest.graphs["decoder"].tolerance + PIXEL_ROUNDING
    assert found.shape == expected.shape
    off = float(np.abs(found - expected).max())
    assert off <= tolerance, f"a pixel is off by {off:.4g} of 255, expected at most {tolerance:.4g}"


@lru_cache(maxsize=64)
def _again(case: EngineCase) -> tuple[Decoded, Decoded]:
    """Decode a case again, with another seed's decode beside it."""
    other = replace(case, seed=(case.seed + 1) % 2**64)
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.submit(case.run), threads.submit(other.run)
        return first.result(), second.result()


def runs_repeat(case: EngineCase, decoded: Decoded) -> None:
    """CONF-5, RNG-1: the same seed and settings give the same passes and decisions, beside another decode too."""
    again, other = _again(case)
    assert same(decoded, again), "the same seed gave another decode"
    for index, (item, repeated) in enumerate(zip(decoded.trace.passes, again.trace.passes, strict=True)):
        # Else an image that hangs on a near-tie is not the same in every run.
        assert item.logits is not None
        assert repeated.logits is not None
        off = float((item.logits - repeated.logits).abs().max())
        assert off == 0, f"pass {index} of model {item.model}: its logits differ by {off:.3g} from run to run"
    # Greedy decoding, or a draft that is taken as it is, knows no seed.
    if case.settings.temperature > 0 and case.draft is None:
        reach("another seed gives another image", not torch.equal(decoded.tokens, other.tokens))
