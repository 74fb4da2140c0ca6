"""What became of a folder, in numbers and in lines."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mulo_sd.reference.train.folder.cache import FOLDER, HELD_OUT


@dataclass(frozen=True)
class FolderReport:
    """Counts.

    Attributes:
        pictures: Files that are pictures by their name.
        without_caption: Of these.
        captions_of_no_picture: Captions in files that name no picture of the folder.
        other_files: By their suffix, at most `MAX_SUFFIXES` of them.
        left_out: What cannot be used, by kind (`problems`).
        converted: To how many pictures what was done, by kind (`picture`).
        copies: Pictures that look like another.
        enlarged: Pictures that are smaller than they are kept.
        kept: Different pictures.
        captions: Of these.
        training: Pictures to learn from.
        held_out: Pictures to judge by.
        prefix_length: Ids of a prefix.
        vocabulary: Ids that there are.
        cut: Captions that a prefix does not hold as a whole.
        sided: Captions that say left or right; None where nothing is mirrored.
    """

    pictures: int
    without_caption: int
    captions_of_no_picture: int
    other_files: Mapping[str, int]
    left_out: Mapping[str, int]
    converted: Mapping[str, int]
    copies: int
    enlarged: int
    kept: int
    captions: int
    training: int = 0
    held_out: int = 0
    prefix_length: int = 0
    vocabulary: int = 0
    cut: int = 0
    sided: int | None = field(default=None)

    def lines(self) -> Iterator[str]:
        """Yield what the user should know."""
        gone = {"without a caption": self.without_caption if self.captions else 0} | dict(self.left_out)
        listed = ", ".join(f"{count} {kind}" for kind, count in gone.items() if count)
        yield f"pictures: {self.pictures} found, {self.kept} used; left out: {listed or 'none'}"
        if self.other_files:
            shown = ", ".join(f"{count} {suffix}" for suffix, count in self.other_files.items())
            yield f"other files, which are not read: {shown}"
        if self.captions_of_no_picture:
            yield f"captions that name no picture of the folder: {self.captions_of_no_picture}"
        if self.converted:
            yield f"converted: {', '.join(f'{count} {kind}' for kind, count in self.converted.items())}"
        if self.copies:
            yield f"copies: {self.copies}; the picture that they look like has their captions, too"
        if self.enlarged:
            yield f"small pictures: {self.enlarged} had to be enlarged"
        yield f"split: {self.training} pictures to learn from, {self.held_out} held out, named in {FOLDER}/{HELD_OUT}"
        cut = f"; longer, and cut: {self.cut}" if self.cut else ""
        yield (f"captions: {self.captions}, in prefixes of {self.prefix_length} ids out of {self.vocabulary}{cut}")
        if self.sided is not None:
            yield (
                f"flip: captions that say left or right: {self.sided}; pictures are not mirrored with these "
                "(captions in English are understood, letters inside pictures are not)"
            )


MAX_SUFFIXES = 8
MORE = "others"


def count_suffix(counts: dict[str, int], name: str) -> None:
    """Count a file of no known kind by its suffix; from the ninth suffix on, as one of the others."""
    _, dot, suffix = name.rpartition("/")[2].rpartition(".")
    key = f".{suffix.lower()}" if dot and suffix.isprintable() and len(suffix) <= 16 else "without a suffix"
    if key not in counts and len(counts) >= MAX_SUFFIXES:
        key = MORE
    counts[key] = counts.get(key, 0) + 1
