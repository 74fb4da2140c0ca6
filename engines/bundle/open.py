"""Open a bundle: check its schema, that every file is there, and that none has changed."""

import hashlib
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from mulo_sd.engines.bundle.contract import ACCEPTANCE, DECODER, ID_CONDITIONS, PUBLISHED_FAMILIES, SAMPLER
from mulo_sd.engines.bundle.entries import FileEntry
from mulo_sd.engines.bundle.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    SCHEMA_VERSION,
    BundleError,
    Manifest,
    TransformerEntry,
)
from mulo_sd.engines.files.paths import expanded

BUILD = "build a bundle in a new folder with `mulo-sd build`"
# Only of a folder whose manifest is a bundle's: the build replaces no other.
REBUILD = "build the bundle again as it was built, with --force"
OF_A_TRAINING = "bundle"  # how a training calls its bundle's folder, in its --out
# What the build command calls a bundle of models that it knows.
KNOWN_NAME = re.compile(r"mulo-sd ([a-z]+(?:-[a-z]+)*)")


@dataclass(frozen=True)
class Bundle:
    """An opened bundle.

    Attributes:
        path: Its folder.
        manifest: What it holds.
        neighbours: Int[V, max_neighbours], POOL-1.
        codes: Float32[V, d], as the quantiser compares them.
        null_conditions: Of each model, Int64[P, fields] or Float32[P, width], or None where the prompt makes it.
        block_null_condition: Of the block drafter, likewise.
    """

    path: Path
    manifest: Manifest
    neighbours: NDArray[np.int64]
    codes: NDArray[np.float32]
    null_conditions: tuple[NDArray[Any] | None, ...]
    block_null_condition: NDArray[Any] | None = None

    def file(self, entry: FileEntry) -> Path:
        """Return the path of one of its files."""
        return self.path / entry.path

    def rebuild_command(self, *options: str) -> str:
        """Return the command that builds it again in its place, as a shell reads it; without published checkpoints.

        Args:
            options: Of the build command, beside those that say what was built and where.
        """
        family, known = self.manifest.family, KNOWN_NAME.fullmatch(self.manifest.name)
        models = ["--models", known[1]] if known else []
        models = ["--family", family] if family in PUBLISHED_FAMILIES else models
        words = ["mulo-sd", "build", *models, *options, "--force", "--precision", self.manifest.precision]
        return shlex.join([*words, "--out", str(self.path)])

    def rebuild(self, *options: str) -> str:
        """Return what to do where another build of the same models would help; options as of `rebuild_command`."""
        family, known = self.manifest.family, KNOWN_NAME.fullmatch(self.manifest.name)
        beside = " and the checkpoints that it was built from" if family in PUBLISHED_FAMILIES else ""
        if family == "captioned" and not known:
            beside = " and, after --trained, the folder of models that it was built from"
        return f"build it again with `{self.rebuild_command(*options)}`{beside}"


def sha256_of_file(path: Path) -> str:
    """Return a file's sha256 in hex, reading it in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(path: Path) -> Manifest:
    if not path.parent.is_dir():
        found = "something else" if path.parent.exists() else "none"
        raise BundleError(f"{path.parent}: expected a bundle's folder, found {found}; {BUILD}")
    if not path.is_file():
        inside = path.parent / OF_A_TRAINING
        if (inside / path.name).is_file():
            raise BundleError(f"{path}: the manifest is missing; give the bundle's folder in it, {inside}")
        raise BundleError(f"{path}: the manifest is missing; give a bundle's folder, or {BUILD}")
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise BundleError(f"{path}: expected at most {MAX_MANIFEST_BYTES} bytes, got {path.stat().st_size}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise BundleError(f"{path}: expected JSON, got: {type(error).__name__}; {BUILD}") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise BundleError(
            f"{path}: expected schema version {SCHEMA_VERSION}, got {version!r:.40}; "
            "update mulo-sd for a newer bundle, build an older one again"
        )
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where, message = ".".join(str(part) for part in first["loc"]), first["msg"].removeprefix("Value error, ")
        raise BundleError(f"{path}: {where + ': ' if where else ''}{message}; {REBUILD}") from None


def _check_file(folder: Path, entry: FileEntry) -> None:
    path = folder / entry.path
    if not path.is_file():
        raise BundleError(f"{path}: the file is missing; {REBUILD}")
    size = path.stat().st_size
    if size != entry.size_bytes:
        raise BundleError(f"{path}: expected {entry.size_bytes} bytes, got {size}; {REBUILD}")
    digest = sha256_of_file(path)
    if digest != entry.sha256:
        raise BundleError(f"{path}: expected sha256 {entry.sha256[:16]}..., got {digest[:16]}...; {REBUILD}")


def _read_array(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    try:
        table = np.load(path, allow_pickle=False)
    except Exception as error:  # numpy raises half a dozen classes for a file that is no array
        raise BundleError(f"{path}: expected a numpy array, got: {type(error).__name__}; {REBUILD}") from None
    if not isinstance(table, np.ndarray):
        raise BundleError(f"{path}: expected one numpy array, got an archive; {REBUILD}")
    if table.shape != shape or table.dtype != dtype:
        raise BundleError(f"{path}: expected {np.dtype(dtype)} {shape}, got {table.dtype} {table.shape}; {REBUILD}")
    return table


def _read_neighbours(folder: Path, manifest: Manifest) -> NDArray[np.int64]:
    path = folder / manifest.neighbours.path
    shape = (manifest.target.vocabulary, manifest.max_neighbours)
    neighbours = _read_array(path, shape, np.int64)
    if neighbours.min() < 0 or neighbours.max() >= shape[0]:
        raise BundleError(f"{path}: expected codes in 0..{shape[0] - 1}; {REBUILD}")
    return neighbours


def _read_codes(folder: Path, manifest: Manifest) -> NDArray[np.float32]:
    path = folder / manifest.codes.path
    codes = _read_array(path, (manifest.target.vocabulary, manifest.code_dim), np.float32)
    if not np.isfinite(codes).all():
        raise BundleError(f"{path}: expected finite numbers; {REBUILD}")
    return codes


def read_null_condition(folder: Path, entry: TransformerEntry) -> NDArray[Any] | None:
    """Return a model's own null condition, if it has one.

    Raises:
        BundleError: the file is no array of the shape and type that the manifest says.
    """
    if entry.null_condition is None:
        return None
    path, shape = folder / entry.null_condition.path, (entry.prefix_length, entry.condition_width)
    if entry.condition in ID_CONDITIONS:
        return _read_array(path, shape, np.int64)
    null = _read_array(path, shape, np.float32)
    if not np.isfinite(null).all():
        raise BundleError(f"{path}: expected finite numbers; {REBUILD}")
    return null


def open_bundle(path: Path | str) -> Bundle:
    """Open a bundle.

    Raises:
        BundleError: no bundle, a newer schema, a missing file, another size or hash.
    """
    folder = expanded(path)
    try:
        return _opened(folder)
    except OSError as error:  # a name that is too long, a folder that may not be read
        raise BundleError(f"{folder}: cannot read it: {error.strerror or error}") from None


def _opened(folder: Path) -> Bundle:
    manifest = _read_manifest(folder / MANIFEST_NAME)
    needed = {DECODER, SAMPLER, ACCEPTANCE}
    for place, settings in manifest.settings_by_place().items():
        unknown = [number for number in settings.model_numbers if number >= len(manifest.models)]
        if unknown:
            raise BundleError(
                f"{folder / MANIFEST_NAME}: {place}.drafters: expected models in 1..{len(manifest.models) - 1}, "
                f"got {unknown[0]}; {REBUILD}"
            )
        needed |= manifest.graphs_of(settings).keys()
    needed |= {entry.graph for entry in manifest.with_caches}
    needed |= {entry.condition_graph for entry in manifest.with_conditions}
    missing = sorted(needed - manifest.graphs.keys())
    if missing:
        raise BundleError(f"{folder / MANIFEST_NAME}: graphs: missing {', '.join(missing)}; {REBUILD}")
    for entry in manifest.files():
        _check_file(folder, entry)
    neighbours, codes = _read_neighbours(folder, manifest), _read_codes(folder, manifest)
    nulls = tuple(read_null_condition(folder, entry) for entry in manifest.models)
    block_null = None if manifest.block is None else read_null_condition(folder, manifest.block)
    return Bundle(folder, manifest, neighbours, codes, nulls, block_null)
