"""What a user may choose about a folder of pictures."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from mulo_sd.reference.numbers import real_number, whole_number

Augmentation = Literal["flip", "crop", "colour"]
AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)

GROUNDS = {"white": (255, 255, 255), "black": (0, 0, 0), "grey": (128, 128, 128)}

SIZES = (16, 512)  # pixels a side
PIXEL_LIMITS = (2**8, 2**30)
FILE_LIMITS = (2**10, 2**34)
SIDES = (1, 2**15)
VOCABULARIES = (259, 65536)  # three special ids and 256 bytes are always there
PREFIX_LENGTHS = (8, 64)
MAX_READERS = 64


class FolderError(ValueError):
    """A folder, or an option about it, that cannot be used; its message is one line for the user."""


@dataclass(frozen=True)
class FolderOptions:
    """Checked when it is made.

    Attributes:
        images: The folder.
        captions: JSONL or CSV; None takes the text files beside the pictures and Hugging Face's metadata files.
        size: Pixels a side of the pictures that models see.
        augment: What is changed at random in every view.
        ground: Laid under transparent pixels: a name, or "#rrggbb".
        held_out_share: Of the pictures, which part is never learned from.
        vocabulary: Ids of the captions' tokenizer at most.
        caption_tokenizer: One that is there already, in the `tokenizers` library's JSON; None trains one.
        prefix_length: Ids of a prefix; None takes what 99% of the captions need.
        seed: Of the order, of the captions drawn, and of the augmentations.
        need_captions: Without, a folder without any captions can be learned from too.
        readers: Processes that decode pictures; 0 takes one a core, at most 8.
        max_pixels: Of one picture.
        max_file_bytes: Of one picture's file.
        smallest_side: Pixels of a picture's shorter side.
    """

    images: Path
    captions: Path | None = None
    size: int = 128
    augment: tuple[Augmentation, ...] = ()
    ground: str = "white"
    held_out_share: float = 0.05
    vocabulary: int = 2048
    caption_tokenizer: Path | None = None
    prefix_length: int | None = None
    seed: int = 0
    need_captions: bool = True
    readers: int = 0
    max_pixels: int = 2**26
    max_file_bytes: int = 2**27
    smallest_side: int = 16

    def __post_init__(self) -> None:
        """Check every number and name.

        Raises:
            FolderError: one is out of its range.
        """
        try:
            whole_number("--pixels", self.size, *SIZES)
            real_number("--held-out-share", self.held_out_share, 0.001, 0.5)
            whole_number("--vocabulary", self.vocabulary, *VOCABULARIES)
            if self.prefix_length is not None:
                whole_number("--prefix-length", self.prefix_length, *PREFIX_LENGTHS)
            whole_number("--seed", self.seed, 0, 2**64 - 1)
            whole_number("--readers", self.readers, 0, MAX_READERS)
            whole_number("--max-pixels", self.max_pixels, *PIXEL_LIMITS)
            whole_number("--max-file-bytes", self.max_file_bytes, *FILE_LIMITS)
            whole_number("--smallest-side", self.smallest_side, *SIDES)
        except ValueError as error:
            raise FolderError(str(error)) from None
        augmentations(",".join(self.augment))
        ground_colour(self.ground)

    @property
    def chosen(self) -> dict[str, str | int | float]:
        """What decides which pictures there are and how they are seen, by the names of the options."""
        return {
            "augment": ",".join(self.augment),
            "ground": self.ground,
            "held_out_share": self.held_out_share,
            "max_file_bytes": self.max_file_bytes,
            "max_pixels": self.max_pixels,
            "smallest_side": self.smallest_side,
        }

    @property
    def cached_side(self) -> int:
        """Pixels a side of the pictures as they are kept: random crops need a quarter more."""
        return -(-self.size * 5 // 4) if "crop" in self.augment else self.size


def augmentations(text: str) -> tuple[Augmentation, ...]:
    """Return the augmentations that a text names, such as "flip,crop", in the order in which they are applied.

    Raises:
        FolderError: it names another.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in AUGMENTATIONS:
            raise FolderError(f"--augment: expected some of {', '.join(AUGMENTATIONS)}, got {name!r:.40}")
    return tuple(name for name in AUGMENTATIONS if name in names)


def ground_colour(text: str) -> tuple[int, int, int]:
    """Return a colour's red, green and blue, 0..255.

    Raises:
        FolderError: it is none.
    """
    if text in GROUNDS:
        return GROUNDS[text]
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise FolderError(f"--ground: expected {', '.join(GROUNDS)} or a colour such as #f0f0e0, got {text!r:.40}")
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue
