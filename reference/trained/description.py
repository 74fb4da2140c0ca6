"""models.json of a folder of trained models: what is in the folder, and how it is used."""

import dataclasses
import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mulo_sd.engines.files.text_files import TextFileError, read_text, strict_json
from mulo_sd.engines.files.whole_files import write_text_whole
from mulo_sd.engines.text import MAX_CAPTION_CHARACTERS, check_text
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.weights import MAX_WEIGHT_BYTES, WeightsError

FORMAT: Literal["mulo-sd trained models"] = "mulo-sd trained models"
VERSION: Literal[1] = 1
MODELS_FILE, CAPTIONS_FILE, PICTURE_FILE = "models.json", "captions.json", "picture.safetensors"
WEIGHTS_FILE = re.compile(
    r"(tokenizer|target|drafter_[1-8]|head|block|(up|down)_sampler_([2-9]|[1-9][0-9]))\.safetensors"
)
NEEDED_FILES = ("tokenizer.safetensors", "target.safetensors", "drafter_1.safetensors", CAPTIONS_FILE, PICTURE_FILE)
MAX_BYTES = 4 * 2**20
MAX_PREFIX = 1024
MAX_EXAMPLES, MAX_PRESETS = 16, 64
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,59}$")]
PresetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]


class FileFacts(BaseModel):
    """What a file is held against."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=1, le=MAX_WEIGHT_BYTES)]


class Description(BaseModel):
    """What models.json holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["mulo-sd trained models"] = FORMAT
    version: Literal[1] = VERSION
    name: Name
    prefix_length: Annotated[int, Field(ge=1, le=MAX_PREFIX)]
    # Captions that show what the models do, a line each; the first one's picture is the one of PICTURE_FILE.
    examples: Annotated[list[str], Field(min_length=1, max_length=MAX_EXAMPLES)]
    settings: dict[str, Any]
    presets: Annotated[dict[PresetName, dict[str, Any]], Field(max_length=MAX_PRESETS)] = Field(default_factory=dict)
    files: dict[str, FileFacts]

    @field_validator("examples")
    @classmethod
    def _lines(cls, examples: list[str]) -> list[str]:
        for text in examples:
            check_text(text, "caption", MAX_CAPTION_CHARACTERS)
            if CONTROLS.search(text):
                raise ValueError("expected captions of one line")
        return examples

    @field_validator("settings")
    @classmethod
    def _are_settings(cls, settings: dict[str, Any]) -> dict[str, Any]:
        settings_from(settings)
        return settings

    @field_validator("presets")
    @classmethod
    def _all_are_settings(cls, presets: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for preset in presets.values():
            settings_from(preset)
        return presets

    @field_validator("files")
    @classmethod
    def _names(cls, files: dict[str, FileFacts]) -> dict[str, FileFacts]:
        missing = [name for name in NEEDED_FILES if name not in files]
        others = [name for name in files if name not in NEEDED_FILES and not WEIGHTS_FILE.fullmatch(name)]
        if missing or others:
            got = f"none of {missing[0]}" if missing else f"{others[0]!r:.40}"
            raise ValueError(f"expected {', '.join(NEEDED_FILES)}, and further weights by their names, got {got}")
        return files

    def weights(self, kind: str) -> dict[int, str]:
        """Return the names of weight files of a kind by their numbers, in order, such as of "drafter"."""
        found = (re.fullmatch(rf"{kind}_(\d+)\.safetensors", name) for name in self.files)
        return dict(sorted((int(match[1]), match[0]) for match in found if match))


def settings_from(content: dict[str, Any]) -> Settings:
    """Return settings by name.

    Raises:
        ValueError: one is unknown, or none that it can be.
    """
    known = {item.name for item in dataclasses.fields(Settings)}
    unknown = [name for name in content if name not in known]
    if unknown:
        raise ValueError(f"expected settings of this version, got {unknown[0]!r:.40}")
    named: dict[str, Any] = {name: tuple(item) if isinstance(item, list) else item for name, item in content.items()}
    return Settings(**named)


def facts_of(path: Path) -> FileFacts:
    """Return a file's size and hash, reading it in pieces."""
    with path.open("rb") as file:
        return FileFacts(sha256=hashlib.file_digest(file, "sha256").hexdigest(), bytes=path.stat().st_size)


def read_description(folder: Path) -> Description:
    """Read models.json, and hold every file that it names against its size and hash.

    Raises:
        WeightsError: it is missing, too large or of another version, or a file is not as it says.
    """
    path = folder / MODELS_FILE
    if not folder.is_dir():
        raise WeightsError(f"{folder}: expected a folder of trained models, found none; give the path of one")
    try:
        content = strict_json(read_text(path, MAX_BYTES, "what a training leaves"))
    except TextFileError as error:
        raise WeightsError(str(error)) from None
    except ValueError as error:
        raise WeightsError(f"{path}: expected JSON, got another text: {' '.join(str(error).split())[:80]}") from None
    version = content.get("version") if isinstance(content, dict) and content.get("format") == FORMAT else None
    if type(version) is not int or version != VERSION:
        raise WeightsError(
            f"{path}: expected {FORMAT}, version {VERSION}, got {version!r:.40}; update mulo-sd for a newer version"
        )
    description = _validated(content, path)
    for name, facts in description.files.items():
        _check_file(folder / name, facts)
    return description


def _validated(content: dict[str, Any], path: Path) -> Description:
    try:
        return Description.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = " ".join(".".join(str(part) for part in first["loc"]).split())[:60]
        line = " ".join(first["msg"].removeprefix("Value error, ").split())
        raise WeightsError(f"{path}: {where}: {line:.200}; train again, or correct the file") from None


def _check_file(path: Path, expected: FileFacts) -> None:
    again = "copy the folder again, or train again"
    try:
        if not path.is_file():
            raise WeightsError(f"{path}: the file is missing; {again}")
        size = path.stat().st_size
        if size != expected.bytes:
            raise WeightsError(f"{path}: expected {expected.bytes} bytes, got {size}; {again}")
        found = facts_of(path).sha256
    except OSError as error:
        raise WeightsError(f"{path}: cannot read it: {error.strerror or error}") from None
    if found != expected.sha256:
        raise WeightsError(f"{path}: expected sha256 {expected.sha256[:16]}..., got {found[:16]}...; {again}")


def write_description(folder: Path, description: Description) -> None:
    """Write models.json as a whole.

    Raises:
        OSError: it cannot be written.
    """
    write_text_whole(folder / MODELS_FILE, json.dumps(description.model_dump(), indent=1) + "\n")


def caption_line(caption: str) -> str:
    """Return a caption in a line, for people."""
    return " ".join(CONTROLS.sub(" ", caption).split())


def make_description(folder: Path, **facts: Any) -> Description:
    """Describe the files that lie in a folder.

    Args:
        folder: With all files but models.json.
        facts: The other fields.

    Raises:
        WeightsError: a file is missing, or a field is none that it can be.
    """
    names = {path.name for path in folder.iterdir() if WEIGHTS_FILE.fullmatch(path.name) and path.is_file()}
    names |= {name for name in NEEDED_FILES if (folder / name).is_file()}
    files = {name: facts_of(folder / name).model_dump() for name in sorted(names)}
    return _validated({"format": FORMAT, "version": VERSION, **facts, "files": files}, folder / MODELS_FILE)
