"""How a folder's captions become ids: a tokenizer that is trained or given, and how long a prefix is."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from mulo_sd.engines.files.text_files import TextFileError, read_text, strict_json
from mulo_sd.engines.files.whole_files import write_text_whole
from mulo_sd.engines.prompts.caption_ids import SPECIAL, CaptionIds
from mulo_sd.reference.numbers import whole_number
from mulo_sd.reference.train.folder.augment import says_sides
from mulo_sd.reference.train.folder.cache import PictureCache
from mulo_sd.reference.train.folder.options import PREFIX_LENGTHS, VOCABULARIES, FolderError, FolderOptions
from mulo_sd.reference.trained.caption_tokenizer import train_caption_tokenizer

FITTING = 0.99  # of the captions that are learned from, how many a prefix holds as a whole
STEP = 4  # a prefix is a multiple of it
MAX_TOKENIZER_BYTES = 2**25
MAX_LEARNED = 1_000_000  # captions that a tokenizer is trained on


@dataclass(frozen=True)
class CaptionPrefix:
    """How captions become prefixes.

    Attributes:
        ids: The tokenizer and the length.
        cut: Captions that are longer.
        sided: Captions that say left or right.
        sha256: Of the tokenizer's JSON.
    """

    ids: CaptionIds
    cut: int
    sided: int
    sha256: str


def caption_prefix(
    cache: PictureCache, training: NDArray[np.int64], options: FolderOptions, given: Tokenizer | None
) -> CaptionPrefix:
    """Return how the captions become prefixes; what was found once is kept with the pictures.

    Args:
        cache: The pictures and their captions.
        training: Rows of the pictures whose captions may be learned from.
        options: The vocabulary of a tokenizer that is trained; the length.
        given: The tokenizer to take in its place.
    """
    asked = (options.vocabulary, given.to_str() if given else None, options.prefix_length, options.held_out_share)
    path = cache.folder / f"prefix-{sha256(repr(asked).encode()).hexdigest()[:16]}.json"
    kept = _kept(path)
    if kept is None:
        kept = _found(cache, training, given, options)
        write_text_whole(path, kept)
    prefix = _read(kept)
    assert prefix is not None, "what was just written can be read"
    return prefix


def _kept(path: Path) -> str | None:
    """Return what was kept; None where nothing was, or something that cannot be read."""
    try:
        text = read_text(path, 2 * MAX_TOKENIZER_BYTES)
    except TextFileError:
        return None
    return text if _read(text) else None


def _read(text: str) -> CaptionPrefix | None:
    try:
        value = strict_json(text)
        tokenizer = Tokenizer.from_str(value["tokenizer"])
        length = whole_number("length", value["length"], *PREFIX_LENGTHS)
        cut, sided = (whole_number(name, value[name], 0) for name in ("cut", "sided"))
    except Exception:  # `tokenizers` knows no narrower class
        return None
    return CaptionPrefix(CaptionIds(tokenizer, length), cut, sided, sha256(value["tokenizer"].encode()).hexdigest())


def _found(cache: PictureCache, training: NDArray[np.int64], given: Tokenizer | None, options: FolderOptions) -> str:
    """Train the tokenizer, choose the length, count; return all of it as JSON."""
    learned = islice(_captions(cache, training), MAX_LEARNED)
    tokenizer = given or train_caption_tokenizer(learned, options.vocabulary)
    length = options.prefix_length or fitting_length(_lengths(tokenizer, _captions(cache, training)))
    rows = range(cache.header.rows)
    longer = int(_lengths(tokenizer, _captions(cache, rows))[length + 1 :].sum())
    sided = sum(says_sides(caption) for caption in _captions(cache, rows))
    return json.dumps({"tokenizer": tokenizer.to_str(), "length": length, "cut": longer, "sided": sided})


def _captions(cache: PictureCache, rows: Iterable[int]) -> Iterator[str]:
    for row in rows:
        yield from cache.captions(int(row))


def _lengths(tokenizer: Tokenizer, captions: Iterable[str]) -> NDArray[np.int64]:
    """Return how many captions have how many ids; the last number is of all longer ones."""
    counts = np.zeros(PREFIX_LENGTHS[1] + 2, np.int64)
    for caption in captions:
        counts[min(len(tokenizer.encode(caption).ids), len(counts) - 1)] += 1
    return counts


def fitting_length(counts: NDArray[np.int64]) -> int:
    """Return the shortest length that holds 99% of the captions, within the lengths that a prefix may have.

    Args:
        counts: How many captions have how many ids.
    """
    least, most = PREFIX_LENGTHS
    enough = FITTING * counts.sum()
    fitting = (length for length in range(least, most, STEP) if counts[: length + 1].sum() >= enough)
    return next(fitting, most)


def given_tokenizer(path: Path) -> Tokenizer:
    """Return a tokenizer from a file of the `tokenizers` library.

    Raises:
        FolderError: it is none, or one with other special ids.
    """
    try:
        text = read_text(path, MAX_TOKENIZER_BYTES, "a tokenizer in JSON")
    except TextFileError as error:
        raise FolderError(f"--caption-tokenizer: {error}") from None
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library knows no narrower class
        line = " ".join(str(error).split())[:100]
        raise FolderError(
            f"--caption-tokenizer: {path}: expected a tokenizer in the JSON of the library tokenizers, got another "
            f"file: {line}"
        ) from None
    first = tuple(tokenizer.id_to_token(number) for number in range(len(SPECIAL)))
    if first != SPECIAL:
        raise FolderError(
            f"--caption-tokenizer: {path}: expected {', '.join(SPECIAL)} as ids 0, 1 and 2, got "
            f"{', '.join(map(str, first))}; give the tokenizer of another bundle, or none"
        )
    if tokenizer.get_vocab_size() > VOCABULARIES[1]:
        raise FolderError(
            f"--caption-tokenizer: {path}: expected at most {VOCABULARIES[1]} ids, got {tokenizer.get_vocab_size()}"
        )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
