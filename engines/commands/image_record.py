"""The record of what an image was drawn from, kept inside its own PNG file.

A record in a second file could be cut off, lag behind, or be written by two processes at once. An image and the record
inside it exist together or not at all, and stay together when files are copied.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

from PIL import Image, PngImagePlugin

from mulo_sd.engines.bundle.manifest import Manifest

KEY = "mulo-sd"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


def models_hash(manifest: Manifest) -> str:
    """Return the hash of every part of a bundle that an image depends on: graphs, weights, tables, words of prompts.

    The date, measured figures and compiled plans do not count: the same models, built again, have the same hash.
    """
    files = [manifest.codes, manifest.neighbours, *manifest.weights, *(item.onnx for item in manifest.graphs.values())]
    files += [item for item in (manifest.prompt_grammar, manifest.captions) if item]
    files += [item.null_condition for item in manifest.with_conditions if item.null_condition]
    hashes = sorted({(item.path, item.sha256) for item in files})
    return sha256(json.dumps(hashes).encode()).hexdigest()


@dataclass(frozen=True)
class Record:
    """What an image was drawn from.

    Attributes:
        prompt: The text in the prompt file.
        seeds: One for every tile.
        settings: The settings of the decode.
        models: The hash of the bundle's models (`models_hash`).
    """

    prompt: str
    seeds: tuple[int, ...]
    settings: Mapping[str, Any]
    models: str

    def to_json(self) -> str:
        """Return it as JSON; equal records give equal text."""
        content = {"prompt": self.prompt, "seeds": self.seeds, "settings": dict(self.settings), "models": self.models}
        return json.dumps(content, sort_keys=True)


def save_with(image: Image.Image, record: Record, path: Path) -> None:
    """Write an image as PNG, its record before the pixels."""
    info = PngImagePlugin.PngInfo()
    info.add_text(KEY, record.to_json())
    image.save(path, format="PNG", pnginfo=info)


class ImageFile(NamedTuple):
    """The file at an image's path.

    Attributes:
        state: "cut off" for an empty file, and for a PNG file that ends early or whose checksums are wrong.
        record: The JSON of its record; None where it has none, or is cut off before it.
        could_be_ours: Whether it has a record, or is cut off before one could come.
    """

    state: Literal["missing", "cut off", "whole"]
    record: str | None = None
    could_be_ours: bool = True


def read_record(path: Path) -> ImageFile:
    """Read the state and the record of the file at an image's path.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(PNG_SIGNATURE))
            end = file.read()[-len(PNG_END) :]
    except FileNotFoundError:
        return ImageFile("missing")
    if not PNG_SIGNATURE.startswith(start):
        return ImageFile("whole", None, could_be_ours=False)  # no part of a PNG file
    record, opened = None, False
    try:
        with Image.open(path) as image:
            record, opened = image.info.get(KEY), True
            image.verify()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ImageFile("cut off", record, record is not None or not opened)
    return ImageFile("whole" if end == PNG_END else "cut off", record, record is not None)
