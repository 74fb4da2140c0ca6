"""CONF-6: an engine draws by wide sweeps what it draws by one token a pass."""

from dataclasses import replace

import numpy as np
import pytest

from mulo_sd.conformance.engines import margins
from mulo_sd.conformance.engines.cases import PROMPTS, SEED
from mulo_sd.conformance.engines.engine_case import EngineCase, capabilities_for, run
from mulo_sd.conformance.engines.replay import reference_logits
from mulo_sd.conformance.subject import Subject
from mulo_sd.reference.decode import Decoded
from mulo_sd.reference.noise import gumbel_noise, sample_stream
from mulo_sd.reference.settings import Mode, Settings

NARROW = Settings(mode="ar", guidance_scale=1.2, top_p=0.95, sweep_width=1)
WIDTHS = (5, 16, None)
COMPARED = PROMPTS[:4]
# Of the images of all prompts and widths: in half precision near-ties are more.
MAX_PARTED = {"fp32": 1}
MAX_PARTED_IN_HALF = len(COMPARED) * len(WIDTHS) // 2


def deciding_logits(decoded: Decoded, cell: int) -> margins.Floats:
    """Return the logits from which a cell of the target was decided, Float32[B, V]."""
    for made in reversed(decoded.trace.passes):
        for row, sampled, _ in made.sampled:
            if sampled == cell:
                logits: margins.Floats = reference_logits(made)[:, row]
                return logits
    raise AssertionError(f"cell {cell} was never sampled")


def explain_parting(case: EngineCase, narrow: Decoded, wide: Decoded) -> bool:
    """Return whether two images differ, after making sure that the first difference is a near-tie."""
    different = (narrow.tokens != wide.tokens).flatten().nonzero().flatten().tolist()
    if not different:
        return False
    cell, tolerance = different[0], case.rounding.logits
    ours, theirs = deciding_logits(wide, cell), deciding_logits(narrow, cell)
    off = float(np.abs(ours - theirs).max())
    assert off <= tolerance, f"{case!r}, cell {cell}: logits differ by {off:.3g}, expected at most {tolerance}"
    noise = gumbel_noise(case.seed, sample_stream(0), [cell], case.codes).numpy()
    known = margins.uncertain(theirs[:, None], np.array([tolerance]), case.settings)
    token = int(wide.tokens.flatten()[cell])
    assert known.tokens(noise)[0, token], f"{case!r}, cell {cell}: no near-tie explains token {token}"
    return True


class TestConf6:
    """CONF-6 The same tokens by sweeps.

    A pass of many tokens and one of a single token differ by rounding, so that a near-tie may fall otherwise. In
    float32 a grid by sweeps equals the grid of one token a pass, or the first difference has a margin below the
    tolerance (CONF-2), and those are rare; in half precision near-ties are counted and bounded. Logits of the same
    context from passes of different widths stay within the tolerance.
    """

    @pytest.mark.parametrize("mode", ["ar", "exact"])
    def test_wide_sweeps_draw_the_same_image(self, small_subject: Subject, mode: Mode) -> None:
        """MODE-AR, MODE-EXACT: An image by sweeps is the one of one token a pass, or parts from it at a near-tie."""
        if not capabilities_for(replace(NARROW, mode=mode)) <= small_subject.capabilities:
            pytest.skip(f"not applicable: the backend or the bundle cannot do {mode}")
        parted = []
        for prompt in COMPARED:
            narrow = run(EngineCase(small_subject, prompt, NARROW, SEED))
            for width in WIDTHS:
                case = EngineCase(small_subject, prompt, replace(NARROW, mode=mode, sweep_width=width), SEED)
                wide = run(case)
                assert wide.nfe_target < narrow.nfe_target
                if explain_parting(case, narrow, wide):
                    parted.append((prompt, width))
        assert len(parted) <= MAX_PARTED.get(small_subject.precision, MAX_PARTED_IN_HALF), parted

    def test_a_parting_that_no_near_tie_explains_is_found(self, small_subject: Subject) -> None:
        """A token that the logits do not allow fails the comparison."""
        case = EngineCase(small_subject, PROMPTS[0], NARROW, SEED)
        narrow, cell = run(case), 5
        noise = gumbel_noise(case.seed, sample_stream(0), [cell], case.codes).numpy()
        logits = deciding_logits(narrow, cell)
        known = margins.uncertain(logits[:, None], np.array([case.rounding.logits]), case.settings)
        tokens = narrow.tokens.clone()
        tokens.view(-1)[cell] = int(np.flatnonzero(~known.tokens(noise)[0])[0])
        with pytest.raises(AssertionError, match="no near-tie explains"):
            explain_parting(case, narrow, replace(narrow, tokens=tokens))
