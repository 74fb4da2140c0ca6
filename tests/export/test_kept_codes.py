"""Which codes a sampler keeps is held against exact arithmetic, however little each weighs (DIST-1)."""

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from mulo_sd.export.compare_sampling import sampling_error
from mulo_sd.export.comparison import ToleranceError
from mulo_sd.export.evidence import Evidence
from mulo_sd.export.graphs.sampling import sampler_graph
from mulo_sd.export.kept_codes import Sampling, guided, kept_bounds, kept_exactly, slack_of
from mulo_sd.reference.models import Models
from mulo_sd.reference.sampling import target_log_probs

CODES = 16_384
SETTINGS = [
    Sampling(),
    Sampling(top_p=0.9),
    Sampling(top_k=7),
    Sampling(guidance_scale=3.0, temperature=0.6, top_k=20, top_p=0.7),
    Sampling(temperature=0.0),
]


def rows(count: int, codes: int, spread: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(codes)
    cond = spread * torch.randn(count, codes, generator=generator)
    return cond, cond + 0.1 * spread * torch.randn(count, codes, generator=generator)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize(("codes", "spread"), [(50, 0.01), (50, 2.0), (3000, 0.3)])
def test_exactly_what_the_rule_keeps(settings: Sampling, codes: int, spread: float) -> None:
    """As the reference does with float64; what float32 may keep lies around it."""
    cond, uncond = rows(40, codes, spread)
    expected = target_log_probs(
        *(cond.double(), uncond.double(), settings.guidance_scale, settings.temperature),
        *(settings.top_k, settings.top_p),
    )
    logits = guided(cond, uncond, settings)
    found = kept_exactly(logits, settings)
    assert torch.equal(found, torch.isfinite(expected))
    sure, possible = kept_bounds(logits, slack_of(cond, uncond, settings), settings)
    assert not (sure & ~found).any()
    assert not (found & ~possible).any()


@pytest.fixture
def flat() -> tuple[Any, Evidence]:
    """The sampler of many codes, and rows in which each of them weighs next to nothing, as before any training."""
    config = SimpleNamespace(vocabulary=CODES, grid_height=8, grid_width=8)
    models = cast(Models, SimpleNamespace(target=SimpleNamespace(config=config)))
    logits = torch.stack(rows(24, CODES, 0.3))
    passes = [SimpleNamespace(tokens=torch.zeros(24), logits=logits)]
    return sampler_graph(models), cast(Evidence, SimpleNamespace(passes=[passes], models=models, neighbours=None))


def test_a_right_sampler_of_flat_rows(flat: tuple[Any, Evidence]) -> None:
    """Rounding leaves the edge of top-p open in nearly every row, and decides few of them otherwise."""
    item, evidence = flat
    assert sampling_error(item.run, item, evidence) < 1e-4


def test_a_sampler_that_errs_to_one_side(flat: tuple[Any, Evidence]) -> None:
    """One code less in every row, which rounding alone might explain in any of them."""
    item, evidence = flat

    def one_less(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        less = inputs["top_p"] - (4e-5 if 0.0 < float(inputs["top_p"]) < 1.0 else 0.0)
        outputs: dict[str, Tensor] = item.run({**inputs, "top_p": less})
        return outputs

    with pytest.raises(ToleranceError, match=r"rows keep other codes at the edge"):
        sampling_error(one_less, item, evidence)
