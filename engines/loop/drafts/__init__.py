"""Where a method's drafts come from, one source a file; the engines' twin of `reference.drafts`."""

from mulo_sd.engines.loop.drafts.coarse import CoarseDraft
from mulo_sd.engines.loop.drafts.last_sweep import LastSweep
from mulo_sd.engines.loop.drafts.source import DraftSource
from mulo_sd.engines.loop.state import ModelState, Tokens

__all__ = ["CoarseDraft", "DraftSource", "LastSweep", "draft_source"]


def draft_source(state: ModelState, proposal: Tokens | None) -> DraftSource:
    """Return the source of drafts that the settings choose.

    Args:
        state: Of the target.
        proposal: Int[N], tokens of the whole grid, where a coarser grid was drafted; None elsewhere.
    """
    if proposal is not None:
        return CoarseDraft(state, proposal)
    return LastSweep(state)
