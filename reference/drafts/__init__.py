"""Where a method's drafts come from (METHOD-1), one source a file."""

from mulo_sd.reference.drafts.block import BlockDraft
from mulo_sd.reference.drafts.coarse import CoarseDraft
from mulo_sd.reference.drafts.head import HeadDraft
from mulo_sd.reference.drafts.last_sweep import LastSweep
from mulo_sd.reference.drafts.source import DraftSource
from mulo_sd.reference.drafts.tree import GrownTree, StaticTree, TreeSource
from mulo_sd.reference.head import Head
from mulo_sd.reference.models import Models
from mulo_sd.reference.state import ModelState

__all__ = [
    "BlockDraft",
    "CoarseDraft",
    "DraftSource",
    "HeadDraft",
    "LastSweep",
    "TreeSource",
    "draft_source",
    "tree_source",
]


def tree_source(state: ModelState, models: Models) -> TreeSource:
    """Return the source of trees that the settings choose.

    Args:
        state: Of the target.
        models: Of the decode.

    Raises:
        ValueError: the models have no head.
    """
    return (GrownTree if state.settings.decoding.draft == "tree" else StaticTree)(state, _head(models))


def _head(models: Models) -> Head:
    if models.head is None:
        raise ValueError("draft_from: expected models with a head, got none; train one for this target")
    return models.head


def draft_source(state: ModelState, models: Models) -> DraftSource:
    """Return the source of drafts that the settings choose, where no coarser grid was drafted.

    Args:
        state: Of the target.
        models: Of the decode.

    Raises:
        ValueError: the models lack what drafts.
    """
    draft = state.settings.decoding.draft
    if draft == "sweep":
        return LastSweep(state)
    if draft == "head":
        return HeadDraft(state, _head(models))
    if models.block is None:
        raise ValueError("draft_from: expected models with a block drafter, got none; train one for this target")
    return BlockDraft(state, models.block)
