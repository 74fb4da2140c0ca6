"""Where a method's drafts come from, one source a file; the engines' twin of `reference.drafts`."""

from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.bundle.manifest import PassesEntry
from mulo_sd.engines.loop.drafts.block import BlockDraft
from mulo_sd.engines.loop.drafts.coarse import CoarseDraft
from mulo_sd.engines.loop.drafts.head import HeadDraft
from mulo_sd.engines.loop.drafts.last_sweep import LastSweep
from mulo_sd.engines.loop.drafts.source import DraftSource
from mulo_sd.engines.loop.drafts.tree import GrownTree, StaticTree, TreeSource
from mulo_sd.engines.loop.state import ModelState

__all__ = ["BlockDraft", "CoarseDraft", "DraftSource", "HeadDraft", "LastSweep", "draft_source", "tree_source"]


def draft_source(state: ModelState, bundle: Bundle) -> DraftSource:
    """Return the source of drafts that the settings choose, where no coarser grid was drafted.

    Args:
        state: Of the target.
        bundle: Of the decode.

    Raises:
        ValueError: the bundle lacks what drafts.
    """
    draft, block = state.settings.decoding.draft, bundle.manifest.block
    if draft == "sweep":
        return LastSweep(state)
    if draft == "head":
        return HeadDraft(state, _head(bundle))
    if block is None:
        raise ValueError("draft_from: expected a bundle with a block drafter, got none; build one of models with it")
    return BlockDraft(state, block, bundle.block_null_condition)


def tree_source(state: ModelState, bundle: Bundle) -> TreeSource:
    """Return the source of trees that the settings choose; arguments and errors as of `draft_source`."""
    return (GrownTree if state.settings.decoding.draft == "tree" else StaticTree)(state, _head(bundle))


def _head(bundle: Bundle) -> PassesEntry:
    if bundle.manifest.head is None:
        raise ValueError("draft_from: expected a bundle with a head, got none; build one of models with it")
    return bundle.manifest.head
