"""A folder's pictures as training examples."""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mulo_sd.engines.prompts.caption_ids import CaptionIds
from mulo_sd.reference.train.folder.augment import CAPTION_STREAM, resized, stream, view
from mulo_sd.reference.train.folder.cache import PictureCache
from mulo_sd.reference.train.folder.caption_prefix import CaptionPrefix
from mulo_sd.reference.train.folder.epochs import Epochs
from mulo_sd.reference.train.folder.options import FolderError, FolderOptions
from mulo_sd.reference.train.folder.report import FolderReport
from mulo_sd.reference.train.folder.split import Split


class FolderExample:
    """One view of a picture, with one of its captions; nothing is read before it is asked for."""

    def __init__(self, examples: "FolderExamples", row: int, caption_number: int, index: int | None) -> None:
        """Choose a view.

        Args:
            examples: Of the folder.
            row: Of the picture.
            caption_number: Which of its captions, taken modulo their number.
            index: Of the view, for its augmentations; None shows the picture as it is.
        """
        self.row = row
        self._examples, self._number, self._index = examples, caption_number, index

    @cached_property
    def caption(self) -> str | None:
        """The caption; None where the picture has none."""
        captions = self._examples.cache.captions(self.row)
        return captions[self._number % len(captions)] if captions else None

    @cached_property
    def _pixels(self) -> NDArray[np.uint8]:
        options = self._examples.options
        kept = self._examples.cache.pixels(self.row)
        if self._index is None:
            return resized(kept, options.size)
        return view(kept, options.size, options.augment, self.caption or "", options.seed, self._index)

    def render(self, size: int) -> NDArray[np.uint8]:
        """Return UInt8[size, size, 3]: means of squares of the picture's pixels.

        Args:
            size: A divisor of the folder's `size`.

        Raises:
            FolderError: it is none.
        """
        whole = self._examples.options.size
        if size < 1 or whole % size:
            raise FolderError(f"--pixels: expected a multiple of {size}, at which pictures are asked for, got {whole}")
        ratio = whole // size
        means = self._pixels.reshape(size, ratio, size, ratio, 3).mean(axis=(1, 3))
        small: NDArray[np.uint8] = np.rint(means).astype(np.uint8)
        return small

    def condition(self) -> NDArray[np.int64]:
        """Return the caption's prefix, Int[P, 1]; the one that asks for nothing where there is no caption."""
        ids = self._examples.captions
        return ids.null_condition() if self.caption is None else ids.condition(self.caption)

    def focus(self, side: int) -> NDArray[np.bool_]:
        """Return that nothing is known of where things stand, Bool[side, side]."""
        return np.zeros((side, side), dtype=np.bool_)


class FolderExamples:
    """A folder's pictures in two splits; may be sent to other processes, which map the same files into memory."""

    def __init__(
        self, cache: PictureCache, split: Split, prefix: CaptionPrefix, options: FolderOptions, report: FolderReport
    ) -> None:
        self.cache, self.split, self.options, self.report = cache, split, options, report
        self._prefix = prefix
        self._epochs = Epochs(len(split.training), options.seed)

    @property
    def captions(self) -> CaptionIds:
        """How captions become prefixes; a bundle keeps it."""
        return self._prefix.ids

    @property
    def prefix_length(self) -> int:
        return self.captions.length

    @property
    def prefix_vocabulary(self) -> int:
        return self.captions.vocabulary

    @property
    def identity(self) -> dict[str, str | int | float]:
        """Everything that examples depend on, by name: a run that began with others must not go on.

        It is of what is in the pictures and captions; when a file was copied or touched does not matter.
        """
        return {
            **self.options.chosen,
            "pixels": self.options.size,
            "seed": self.options.seed,
            "pictures": self.cache.content_hash(),
            "captions": self._prefix.sha256,
            "prefix_length": self.prefix_length,
        }

    def training(self, index: int) -> FolderExample:
        """Return a view to learn from: every picture once an epoch, with a caption drawn anew."""
        row = int(self.split.training[self._epochs.place(index)])
        number = int(stream(self.options.seed, index, CAPTION_STREAM).integers(2**32))
        return FolderExample(self, row, number, index)

    def held_out(self, index: int) -> FolderExample:
        """Return a picture to judge by, as it is; the next round through them takes the next caption of each."""
        lap, place = divmod(index, len(self.split.held_out))
        return FolderExample(self, int(self.split.held_out[place]), lap, None)

    def null_condition(self) -> NDArray[np.int64]:
        """Return the prefix that asks for nothing, Int[P, 1]."""
        return self.captions.null_condition()
