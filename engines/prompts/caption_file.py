"""The file of a captions' tokenizer, from outside: JSON of the library `tokenizers`, of which byte-level BPE is read.

Whatever else the library could be told in such a file is refused: parts that grow a text without bound, regular
expressions of the file's own, padding to any length, merges that are left out at random.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mulo_sd.engines.files.text_files import TextFileError, read_text, strict_json
from mulo_sd.engines.prompts.caption_ids import SPECIAL, CaptionIds

MAX_CAPTIONS_BYTES = 16 * 2**20
NORMALIZERS = ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Strip", "StripAccents")
# What splits a text before the bytes of each part are merged.
SPLITTERS = ("Whitespace", "WhitespaceSplit", "Punctuation", "Digits")
BYTE_LEVEL, SEQUENCE = "ByteLevel", "Sequence"
MAX_PARTS = 16


class CaptionsFileError(ValueError):
    """A file of a captions' tokenizer that cannot be used; its message is one line for the user."""


def load_caption_ids(path: Path, length: int, ids: int) -> CaptionIds:
    """Read a captions' tokenizer.

    Args:
        path: Of the JSON.
        length: Ids of a prefix.
        ids: How many the models know.

    Raises:
        CaptionsFileError: no such file, too large, no JSON of the library, or another tokenizer than byte-level BPE
            with our special ids first and no id that the models do not know.
        ModuleNotFoundError: the library is not installed.
    """
    from tokenizers import Tokenizer

    try:
        text = read_text(path, MAX_CAPTIONS_BYTES, "a captions' tokenizer")
        _check(strict_json(text), ids)
        tokenizer = Tokenizer.from_str(text)
    except TextFileError as error:
        raise CaptionsFileError(str(error)) from None
    except Exception as error:  # the library raises Exception itself for what it cannot read
        line = " ".join(str(error).split())[:160]
        raise CaptionsFileError(
            f"{path}: expected byte-level BPE as JSON of the library tokenizers, got another file: {line}"
        ) from None
    return CaptionIds(tokenizer, length)


def _check(content: Any, ids: int) -> None:
    """Check what a file says.

    Raises:
        ValueError: it says what is not read.
    """
    if not isinstance(content, dict):
        raise ValueError("it is no object")
    _check_ids(_part(content, "model"), content.get("added_tokens"), ids)
    for name in ("truncation", "padding"):
        if content.get(name) is not None:
            raise ValueError(f"{name}: expected none, since a prefix is filled up and cut")
    for name, kinds in (("normalizer", NORMALIZERS), ("pre_tokenizer", (BYTE_LEVEL, *SPLITTERS))):
        unknown = [kind for kind in _kinds(content, name) if kind not in kinds]
        if unknown:
            raise ValueError(f"{name}: expected some of {', '.join(kinds)}, got {unknown[0]!r:.40}")
    if BYTE_LEVEL not in _kinds(content, "pre_tokenizer"):
        raise ValueError(f"pre_tokenizer: expected {BYTE_LEVEL}")
    for name in ("post_processor", "decoder"):
        if [*_kinds(content, name)] not in ([], [BYTE_LEVEL]):
            raise ValueError(f"{name}: expected {BYTE_LEVEL} or none")


def _part(content: dict[str, Any], name: str) -> dict[str, Any]:
    part = content.get(name)
    if not isinstance(part, dict):
        raise ValueError(f"{name}: expected an object")
    return part


def _kinds(content: dict[str, Any], name: str) -> Iterator[str]:
    """Yield the kinds of a part, or of the parts of a sequence, which holds no sequence."""
    part = content.get(name)
    if part is None:
        return
    kind = part.get("type") if isinstance(part, dict) else None
    if kind != SEQUENCE:
        yield str(kind)
        return
    parts = next((value for key, value in part.items() if key != "type"), None)
    if not isinstance(parts, list) or len(part) != 2 or not 0 < len(parts) <= MAX_PARTS:
        raise ValueError(f"{name}: expected a sequence of 1 to {MAX_PARTS} parts")
    yield from (str(item.get("type") if isinstance(item, dict) else None) for item in parts)


def _check_ids(model: dict[str, Any], added: Any, ids: int) -> None:
    """Check the model's vocabulary: bytes, special ids, and no others than the models know."""
    if model.get("type") != "BPE":
        raise ValueError(f"model: expected BPE, got {model.get('type')!r:.40}")
    for name in ("dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(name):
            raise ValueError(f"model.{name}: expected none")
    vocabulary = _part(model, "vocab")
    numbers = list(vocabulary.values())
    if any(type(number) is not int for number in numbers) or sorted(numbers) != [*range(len(numbers))]:
        raise ValueError("model.vocab: expected each id from 0 on once")
    if len(numbers) > ids:
        raise ValueError(f"model.vocab: expected at most the {ids} ids that the models know, got {len(numbers)}")
    named = [(item.get("id"), item.get("content")) for item in added] if _are_objects(added) else added
    if named != [*enumerate(SPECIAL)] or any(vocabulary.get(name) != number for number, name in enumerate(SPECIAL)):
        raise ValueError(f"added_tokens: expected {', '.join(SPECIAL)} as ids 0 to {len(SPECIAL) - 1}, and no others")
    if any(item.get("special") is not True for item in added):
        raise ValueError("added_tokens: expected special ones")
    missing = [letter for letter in _letters_of_bytes() if letter not in vocabulary]
    if missing:
        raise ValueError(f"model.vocab: expected every byte, missing {len(missing)} of them")


def _are_objects(items: Any) -> bool:
    return isinstance(items, list) and all(isinstance(item, dict) for item in items)


def _letters_of_bytes() -> list[str]:
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())
