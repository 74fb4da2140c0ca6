"""Published checkpoints as models to build a bundle from: their files, the settings they are used with, real passes."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import overload

import torch
from torch import Tensor

from mulo_sd.engines.bundle.contract import PublishedFamily
from mulo_sd.engines.setting_kinds import MAX_DRAFTERS
from mulo_sd.export.evidence import Evidence
from mulo_sd.export.some_passes import some_passes
from mulo_sd.reference.checkpoints.ar_dtok import load_ar_dtok
from mulo_sd.reference.checkpoints.lantern import load_lantern_head
from mulo_sd.reference.checkpoints.llamagen import load_llamagen
from mulo_sd.reference.checkpoints.ta_tok import TATokDecoder, load_ta_tok
from mulo_sd.reference.checkpoints.vq import load_vq
from mulo_sd.reference.models import Condition, Models
from mulo_sd.reference.random_weights import random_condition
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.trace import Pass
from mulo_sd.reference.transformer import Transformer
from mulo_sd.reference.weights import WeightsError

# The resolution in a published file's name: t2i_XL_stage2_512.pt, ar_dtok_lp_1024px.pth.
PIXELS_IN_NAME = re.compile(r"_(\d{2,4})(?:px)?$")
# The published sampling defaults; all else is the paper's: radius 3, whole islands.
_SHARED = {"mode": "parallel", "temperature": 1.0, "top_p": 1.0, "tau": 0.1, "radius": 3, "neighbours": 16}
SAMPLING = {
    "caption": {"guidance_scale": 7.5, "top_k": 1000},
    "class": {"guidance_scale": 4.0, "top_k": 2000},
    "features": {"guidance_scale": 4.0, "top_k": 0},
}
SEED = 20260112


@dataclass(frozen=True)
class Files:
    """Checkpoints on disk.

    Attributes:
        family: Whose they are.
        target: Of the highest resolution.
        drafters: Of the coarser ones, descending; with none, MODE-AR and MODE-ZIPAR alone can be drawn.
        vq: The tokenizer that all share.
        pixels: The side of each one's image, the target's first, where file names do not end in it.
        ta_tok: Tar's image tokenizer, so that a bundle takes semantic ids too.
        heads: Of transformers whose size is not published.
        semantic_ids: Of an image of Tar's: 729, 169 or 81; None is as many as the checkpoints take at most.
        head: A drafting head of LlamaGen's target, as LANTERN trained it.
    """

    family: PublishedFamily
    target: Path
    drafters: tuple[Path, ...]
    vq: Path
    pixels: tuple[int, ...] = ()
    ta_tok: Path | None = None
    heads: int | None = None
    semantic_ids: int | None = None
    head: Path | None = None

    def __post_init__(self) -> None:
        """Check the options that only one family has.

        Raises:
            WeightsError: it is given for another.
        """
        if self.semantic_ids not in (None, 729, 169, 81):
            raise WeightsError(f"semantic ids: expected 729, 169 or 81, got {self.semantic_ids}")
        if self.family != "tar" and (self.ta_tok is not None or self.semantic_ids is not None):
            raise WeightsError(f"ta_tok, semantic ids: expected them of family tar alone, got them of {self.family}")
        if self.family == "tar" and self.head is not None:
            raise WeightsError(f"{self.head}: expected a head of family llamagen alone, got one of tar")


def _pixels(files: Files, number: int, path: Path) -> int:
    if files.pixels:
        if len(files.pixels) != 1 + len(files.drafters):
            raise WeightsError(f"pixels: expected {1 + len(files.drafters)}, one a model, got {len(files.pixels)}")
        return files.pixels[number]
    match = PIXELS_IN_NAME.search(path.stem)
    if match is None:
        raise WeightsError(
            f"{path}: expected a file name that ends in its resolution, as t2i_XL_stage2_512.pt does; "
            "give it with --pixels"
        )
    return int(match[1])


def _transformer(files: Files, number: int, path: Path, factor: int, dtype: torch.dtype) -> Transformer:
    """Load a transformer whose numbers fit a precision.

    They are read once and given up, and mapped anew: until a graph is built of them they take no memory.
    """
    load: Callable[[torch.dtype | None], Transformer]
    if files.family == "tar":
        load = partial(load_ar_dtok, path, files.heads, files.semantic_ids)
    else:
        pixels = _pixels(files, number, path)
        if pixels < factor or pixels % factor:
            raise WeightsError(f"{path}: expected a resolution that is a multiple of {factor}, got {pixels}")
        load = partial(load_llamagen, path, pixels // factor, files.heads)
    load(dtype)
    return load(None)


def load_published(files: Files, dtype: torch.dtype = torch.float32) -> Models:
    """Load target, drafters and tokenizer in float32.

    Args:
        files: The checkpoints.
        dtype: The precision of the bundle, which their numbers must fit.

    Raises:
        WeightsError: a file cannot be used, or the models do not fit each other.
    """
    if len(files.drafters) > MAX_DRAFTERS:
        raise WeightsError(f"drafter: expected at most {MAX_DRAFTERS} files, got {len(files.drafters)}")
    tokenizer = load_vq(files.vq, dtype)
    factor, paths = tokenizer.config.factor, (files.target, *files.drafters)
    loaded: list[Transformer] = []
    for number, path in enumerate(paths):
        model = _transformer(files, number, path, factor, dtype)
        if model.config.vocabulary != tokenizer.config.codes:
            raise WeightsError(
                f"{path}: expected a vocabulary of the tokenizer's {tokenizer.config.codes} codes, got "
                f"{model.config.vocabulary}"
            )
        kind = (model.config.condition, model.config.condition_width, model.config.prefix_length)
        first = loaded[0].config if loaded else model.config
        if kind != (first.condition, first.condition_width, first.prefix_length):
            raise WeightsError(
                f"{path}: expected a condition like the target's, {first.prefix_length} x {first.condition_width} "
                f"({first.condition}), got {kind[2]} x {kind[1]} ({kind[0]})"
            )
        if loaded and model.config.grid_height >= loaded[-1].config.grid_height:
            raise WeightsError(
                f"{path}: expected a coarser grid than {loaded[-1].config.grid_height} tokens a side, got "
                f"{model.config.grid_height}; give checkpoints from the target down"
            )
        loaded.append(model)
    try:
        head = load_lantern_head(files.head, loaded[0], dtype) if files.head else None
        return Models(loaded[0], tuple(loaded[1:]), tokenizer, head=head)
    except ValueError as error:
        raise WeightsError(f"{files.target} and its drafters: {error}") from None


def load_ta_tok_of(files: Files, models: Models, dtype: torch.dtype = torch.float32) -> TATokDecoder | None:
    """Load Tar's image tokenizer, where there is one; its numbers must fit a precision.

    Raises:
        WeightsError: the file cannot be used, or does not fit the models.
    """
    if files.ta_tok is None:
        return None
    config = models.target.config
    decoder = load_ta_tok(files.ta_tok, config.prefix_length, dtype=dtype)
    if decoder.config.dim != config.condition_width:
        raise WeightsError(
            f"{files.ta_tok}: expected features {config.condition_width} wide, as of the target, got "
            f"{decoder.config.dim}"
        )
    return decoder


def published_settings(models: Models) -> Settings:
    """Return the settings that a bundle of published models starts from; all drafters take part, if there are any."""
    sampling = SAMPLING[models.target.config.condition]
    drafters = tuple(range(1, 1 + len(models.drafters)))
    chain = {"drafters": drafters} if drafters else {"mode": "zipar"}
    return Settings(**{**_SHARED, **sampling, **chain})  # type: ignore[arg-type]  # by name


class RealPasses(Sequence[list[Pass]]):
    """The passes of every model, run when they are first read: until then its weights need not be in memory."""

    def __init__(self, models: Models, condition: Condition) -> None:
        self.models, self.condition = models, condition
        self.passes: dict[int, list[Pass]] = {}

    def __len__(self) -> int:
        return 1 + len(self.models.drafters)

    @overload
    def __getitem__(self, number: int) -> list[Pass]: ...

    @overload
    def __getitem__(self, number: slice) -> list[list[Pass]]: ...

    def __getitem__(self, number: int | slice) -> list[Pass] | list[list[Pass]]:
        """Return a model's passes."""
        if isinstance(number, slice):
            return [self[index] for index in range(*number.indices(len(self)))]
        if not 0 <= number < len(self):
            raise IndexError(number)
        if number not in self.passes:
            model = self.models.transformer(number)
            generator = torch.Generator().manual_seed(SEED + number)
            with torch.inference_mode():
                self.passes[number] = some_passes(model, number, self.condition, generator)
        return self.passes[number]


@torch.inference_mode()
def published_evidence(models: Models, neighbours: Tensor, ta_tok: TATokDecoder | None = None) -> Evidence:
    """Run real passes of every model, on tokens drawn at random."""
    generator = torch.Generator().manual_seed(SEED)
    condition = random_condition(models.target.config, generator)
    numbers = range(1 + len(models.drafters))
    passes = RealPasses(models, condition)
    codes = models.target.config.vocabulary
    coarsest = models.transformer(numbers[-1]).config
    rows = min(2, coarsest.grid_height)  # a strip: a whole image of 1,024 pixels takes minutes
    tokens = []
    for number in numbers:
        config = models.transformer(number).config
        size = (rows * config.grid_height // coarsest.grid_height, config.grid_width)
        tokens.append(torch.randint(codes, size, generator=generator))
    return Evidence(models, condition, passes, tuple(tokens), neighbours, ta_tok)
