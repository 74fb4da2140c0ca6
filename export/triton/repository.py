"""A model repository, written whole or not at all."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.bundle.manifest import MANIFEST_NAME, MAX_MANIFEST_BYTES
from mulo_sd.engines.bundle.open import sha256_of_file
from mulo_sd.engines.files.folder_beside import folder_beside
from mulo_sd.engines.triton.model import BUNDLE_FOLDER
from mulo_sd.export.own_bundle import WRITTEN, BuildError, check_folder, entries, remove_empty, remove_known

# At the repository's root, where Triton looks at folders alone.
RECORD, CLIENT = "mulo-sd-triton.json", "client.py"
CONFIG, MODEL = "config.pbtxt", "model.py"
FORMAT = 1
MAX_RECORD_BYTES = 4 * 2**20
# What an export writes into a model's folder, and what Python leaves there when Triton runs it.
OF_A_MODEL = re.compile(rf"{re.escape(CONFIG)}|[1-9]\d*/{re.escape(MODEL)}|[1-9]\d*/{BUNDLE_FOLDER}/(?P<inside>.+)")
CACHED = re.compile(r"[^/]+/[1-9]\d*/__pycache__/model\.[\w-]+\.pyc")


@dataclass(frozen=True)
class ExportedModel:
    """A model of the repository.

    Attributes:
        name: Its folder.
        version: A folder in that one.
        bundle: Opened, so that its hashes were checked.
        manifest: The bundle's, as it lies in its folder.
        config: The text of its config.pbtxt.
    """

    name: str
    version: int
    bundle: Bundle
    manifest: bytes
    config: str


def _written(path: str) -> bool:
    """Whether a path inside a repository is one that an export writes."""
    if path in (RECORD, CLIENT):
        return True
    match = OF_A_MODEL.fullmatch(path.partition("/")[2])
    return match is not None and (match["inside"] is None or WRITTEN.fullmatch(match["inside"]) is not None)


def _known_files(folder: Path) -> Callable[[str], bool]:
    """Return a predicate of a file's path inside a repository: whether the file is the repository's.

    Raises:
        BuildError: the folder holds no repository that an export wrote, or something beside it.
    """
    record = folder / RECORD
    try:
        is_record = record.is_file() and not record.is_symlink() and record.stat().st_size <= MAX_RECORD_BYTES
        content = json.loads(record.read_text(encoding="utf-8")) if is_record else None
        listed = frozenset(content["files"]) if content is not None and content["format"] == FORMAT else None
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        listed = None
    if listed is None:
        raise BuildError(
            f"{folder}: expected an empty folder or a repository that `mulo-sd triton` wrote, got a folder with other "
            "things; nothing was touched: give another --out"
        )

    def is_known(path: str) -> bool:
        return ((path in listed or path == RECORD) and _written(path)) or CACHED.fullmatch(path) is not None

    for path, entry in entries(folder):
        is_folder = entry.is_dir(follow_symlinks=False)
        if not is_folder and not (entry.is_file(follow_symlinks=False) and is_known(path)):
            raise BuildError(
                f"{folder}: expected nothing but a repository that `mulo-sd triton` wrote, found {path} in it; nothing "
                "was touched: move that away, or give another --out"
            )
    return is_known


def check_outside_bundles(place: Path, bundles: Iterable[Path]) -> None:
    """Check that a repository would change no bundle that it is made of.

    Args:
        place: Without links.
        bundles: Their folders.

    Raises:
        BuildError: the place is a bundle's folder, or in one.
    """
    for bundle in bundles:
        if place.is_relative_to(bundle.resolve()):
            raise BuildError(
                f"{place}: expected a folder outside the bundle {bundle}, got one in it; give another --out"
            )


def check_repository_place(place: Path, force: bool) -> None:
    """Check that a repository may be put in a place.

    Args:
        place: Without links.
        force: A repository that an export wrote may be replaced.

    Raises:
        BuildError: something is there that may not be.
    """
    if not os.path.lexists(place):
        return
    check_folder(place)
    if not any(place.iterdir()):
        return
    _known_files(place)
    if not force:
        raise BuildError(f"{place}: there is a repository already; use it, or replace it with --force")


def write_repository(models: Sequence[ExportedModel], out: Path, force: bool) -> None:
    """Write a repository, whole or not at all.

    Args:
        models: Of names of their own.
        out: The repository's folder.
        force: Replace a repository that an export wrote.

    Raises:
        BuildError: something is there that may not be replaced, or a bundle has changed meanwhile.
        OSError: it cannot be written.
    """
    place = Path(os.path.realpath(out))
    check_repository_place(place, force)
    place.parent.mkdir(parents=True, exist_ok=True)
    with folder_beside(place.parent, f".{place.name}.partial-") as folder:
        made = folder / place.name
        made.mkdir()
        for model in models:
            _write_model(model, made / model.name)
        shutil.copyfile(Path(__file__).with_name("client.py"), made / CLIENT)
        files = {path.relative_to(made).as_posix(): sha256_of_file(path) for path in made.rglob("*") if path.is_file()}
        record = {"format": FORMAT, "models": [model.name for model in models], "files": files}
        (made / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        check_repository_place(place, force)
        _put_in_place(made, place)


def _put_in_place(made: Path, place: Path) -> None:
    """Move a repository to its place; one that is there goes only now."""
    if not os.path.lexists(place):
        made.rename(place)
        return
    is_known = _known_files(place) if any(place.iterdir()) else lambda path: False
    with folder_beside(place.parent, f".{place.name}.old-", remove_empty) as beside:
        old = beside / place.name
        try:
            place.rename(old)
            made.rename(place)
        except BaseException:
            if old.exists() and not os.path.lexists(place):
                old.rename(place)
            raise
        if not remove_known(old, is_known):
            raise BuildError(f"{old}: holds what somebody else put into the old repository meanwhile; it was kept")


def _write_model(model: ExportedModel, folder: Path) -> None:
    version = folder / str(model.version)
    inside = version / BUNDLE_FOLDER
    inside.mkdir(parents=True)
    (folder / CONFIG).write_text(model.config, encoding="utf-8")
    shutil.copyfile(Path(__file__).with_name("model.py"), version / MODEL)
    for entry in model.bundle.manifest.files():
        source, copy = model.bundle.file(entry), inside / entry.path
        copy.parent.mkdir(parents=True, exist_ok=True)
        _copy(source, copy)
        if sha256_of_file(copy) != entry.sha256:
            raise BuildError(f"{source}: it changed while it was copied; nothing was written: try again")
    (inside / MANIFEST_NAME).write_bytes(model.manifest)


def manifest_bytes(bundle: Bundle) -> bytes:
    """Return a bundle's manifest as it lies in its folder.

    Raises:
        BuildError: it has grown beyond what a manifest may hold since the bundle was opened.
    """
    path = bundle.path / MANIFEST_NAME
    with path.open("rb") as file:
        content = file.read(MAX_MANIFEST_BYTES + 1)
    if len(content) > MAX_MANIFEST_BYTES:
        raise BuildError(f"{path}: it changed since it was read; try again")
    return content


def _copy(source: Path, copy: Path) -> None:
    """Copy a file; a file system that can shares its blocks until one of both is written."""
    with source.open("rb") as reading, copy.open("wb") as writing:
        left = os.fstat(reading.fileno()).st_size
        if hasattr(os, "copy_file_range"):
            try:
                while left > 0 and (done := os.copy_file_range(reading.fileno(), writing.fileno(), left)) > 0:
                    left -= done
                return
            except OSError:  # not between these two file systems, or not on this one
                reading.seek(0)
                writing.seek(0)
                writing.truncate()
        shutil.copyfileobj(reading, writing)
