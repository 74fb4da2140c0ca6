"""The prefix of a decode: the caption's tokens, then one token per planned object (GRID-2).

Every prefix token is a row of FIELDS ids of one vocabulary. The model adds the embeddings of a row's ids; id 0 adds
nothing. A caption token uses the first field, a plan token all of them (shape, colour, x, y, size).
"""

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.prompts.grammar import Prompt
from mulo_sd.engines.prompts.plan import Plan
from mulo_sd.engines.prompts.vocabulary import COLOURS, COUNTS, MAX_OBJECTS, POSITION_BINS, RADII, RELATIONS, SHAPES

FIELDS = 5
CAPTION_LENGTH = 8
PREFIX_LENGTH = CAPTION_LENGTH + MAX_OBJECTS


def _build_table() -> dict[tuple[str, str | int], int]:
    keys: list[tuple[str, str | int]] = [("special", "none"), ("special", "null"), ("special", "padding")]
    keys += [("word", word) for word in ("a", "and", *COUNTS, *RELATIONS, *COLOURS, *SHAPES)]
    keys += [("shape", shape) for shape in SHAPES] + [("colour", colour) for colour in COLOURS]
    keys += [("x", position) for position in range(POSITION_BINS)]
    keys += [("y", position) for position in range(POSITION_BINS)]
    keys += [("size", size) for size in range(len(RADII))]
    return {key: index for index, key in enumerate(keys)}


TOKEN_TO_ID = _build_table()
PREFIX_VOCABULARY = len(TOKEN_TO_ID)


def _caption(prompt: Prompt) -> list[str]:
    """The caption's words; plural nouns become singular and 'left of' is one word, so that eight tokens suffice."""

    def noun_phrase(index: int) -> list[str]:
        item = prompt.objects[index]
        return [*([item.colour] if item.colour else []), item.shape]

    if prompt.is_counted:
        count_word = next(word for word, count in COUNTS.items() if count == len(prompt.objects))
        return [count_word, *noun_phrase(0)]
    words = ["a", *noun_phrase(0)]
    if len(prompt.objects) == 2:
        words += [prompt.relation or "and", "a", *noun_phrase(1)]
    return words


def prefix_from_plan(prompt: Prompt, plan: Plan) -> NDArray[np.int64]:
    """Return the conditional prefix, Int[PREFIX_LENGTH, FIELDS]."""
    prefix = np.zeros((PREFIX_LENGTH, FIELDS), dtype=np.int64)
    prefix[:, 0] = TOKEN_TO_ID["special", "padding"]
    for index, word in enumerate(_caption(prompt)):
        prefix[index, 0] = TOKEN_TO_ID["word", word]
    for index, item in enumerate(plan.objects, start=CAPTION_LENGTH):
        prefix[index] = [
            TOKEN_TO_ID["shape", item.shape],
            TOKEN_TO_ID["colour", item.colour],
            TOKEN_TO_ID["x", item.x],
            TOKEN_TO_ID["y", item.y],
            TOKEN_TO_ID["size", item.size],
        ]
    return prefix


def null_prefix() -> NDArray[np.int64]:
    """Return the null condition for classifier-free guidance, Int[PREFIX_LENGTH, FIELDS]."""
    prefix = np.zeros((PREFIX_LENGTH, FIELDS), dtype=np.int64)
    prefix[:, 0] = TOKEN_TO_ID["special", "null"]
    return prefix


def grammar_description() -> dict[str, object]:
    """Return the grammar's tokens and the parts of the prefix, as a bundle records them."""
    return {
        "prefix_length": PREFIX_LENGTH,
        "caption_length": CAPTION_LENGTH,
        "fields": FIELDS,
        "radii": list(RADII),
        "position_bins": POSITION_BINS,
        "tokens": [[kind, value] for kind, value in TOKEN_TO_ID],
    }
