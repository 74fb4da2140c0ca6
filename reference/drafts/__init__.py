"""Where a method's drafts come from (METHOD-1), one source a file."""

from torch import Tensor

from mulo_sd.reference.drafts.coarse import CoarseDraft
from mulo_sd.reference.drafts.last_sweep import LastSweep
from mulo_sd.reference.drafts.source import DraftSource
from mulo_sd.reference.models import Models
from mulo_sd.reference.state import ModelState

__all__ = ["CoarseDraft", "DraftSource", "LastSweep", "draft_source"]


def draft_source(state: ModelState, models: Models, proposal: Tensor | None) -> DraftSource:
    """Return the source of drafts that the settings choose.

    Args:
        state: Of the target.
        models: Of the decode.
        proposal: Int[N], tokens of the whole grid, where a coarser grid was drafted; None elsewhere.

    Raises:
        ValueError: the models lack what drafts.
    """
    draft = state.settings.decoding.draft
    if proposal is not None:
        return CoarseDraft(state, proposal)
    if draft == "sweep":
        return LastSweep(state)
    raise ValueError(f"draft_from: expected coarse or sweep, got {draft}; these models have no such drafter")
