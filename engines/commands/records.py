"""What an image of a run was drawn from, kept inside its own PNG file.

A record in the image itself needs no file beside it that could be torn, lag behind, or be written by two processes at
once: the image and what it was drawn from are there together or not at all, and stay together where files are copied.
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
    """Return the hash of everything of a bundle that an image depends on: graphs, weights, tables and the grammar.

    Neither the date nor measured figures count, nor the plans that a GPU's graphs were compiled to: the same models
    that are built again are the same.
    """
    files = [manifest.codes, manifest.neighbours, *manifest.weights, *(item.onnx for item in manifest.graphs.values())]
    files += [manifest.prompt_grammar] if manifest.prompt_grammar else []
    files += [item.null_condition for item in manifest.models if item.null_condition]
    hashes = sorted({(item.path, item.sha256) for item in files})
    return sha256(json.dumps(hashes).encode()).hexdigest()


@dataclass(frozen=True)
class Record:
    """What an image was drawn from.

    Attributes:
        prompt: As the prompt file has it.
        seeds: Of every tile.
        settings: Of the decode.
        models: Their hash.
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
    """Write an image as PNG with its record, which stands before the pixels."""
    info = PngImagePlugin.PngInfo()
    info.add_text(KEY, record.to_json())
    image.save(path, format="PNG", pnginfo=info)


class Found(NamedTuple):
    """What is at an image's place.

    Attributes:
        state: "cut off" is said of an empty file, and of a PNG file that ends early or whose checksums are wrong.
        record: The JSON of its record; None where it has none, or is cut off before it.
        could_be_ours: Whether it has a record, or is cut off before one could stand there.
    """

    state: Literal["missing", "cut off", "whole"]
    record: str | None = None
    could_be_ours: bool = True


def read_record(path: Path) -> Found:
    """Return what is at an image's place.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(PNG_SIGNATURE))
            end = file.read()[-len(PNG_END) :]
    except FileNotFoundError:
        return Found("missing")
    if not PNG_SIGNATURE.startswith(start):
        return Found("whole", None, could_be_ours=False)  # whatever it is, it is no piece of an image of ours
    record, opened = None, False
    try:
        with Image.open(path) as image:
            record, opened = image.info.get(KEY), True
            image.verify()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return Found("cut off", record, record is not None or not opened)
    return Found("whole" if end == PNG_END else "cut off", record, record is not None)
