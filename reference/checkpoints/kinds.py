"""What a weight file is, by its first bytes: names are often wrong, and nothing is read on the strength of one."""

import re
import struct
import zipfile
from pathlib import Path
from typing import Literal

from mulo_sd.reference.weights import MAX_WEIGHT_BYTES, WeightsError

# A zip or an older file of torch.save, safetensors, or the index of several files.
Kind = Literal["torch zip", "torch pickle", "safetensors", "index"]
HEAD_BYTES = 512
# What torch.save wrote before its files were zips: a pickle of its magic number.
TORCH_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
MAX_SAFETENSORS_HEADER = 100 * 10**6  # the format's own limit
MAX_ENTRIES, MAX_PICKLE_BYTES = 100_000, 2**28  # of a zip: its tensors, and what says how they are called
# Beginnings of what people download or give instead, and what to do about it.
OTHERS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"\s*(?i:<!doctype|<html|<\?xml)"), "a web page; the download was answered with an error: try again"),
    (re.compile(rb"version https://git-lfs"), "a Git LFS pointer; fetch the file itself with `git lfs pull`"),
    (re.compile(rb"\x1f\x8b|BZh|\xfd7zXZ\0|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd"), "a packed file; unpack it first"),
    (re.compile(rb".{257}ustar", re.DOTALL), "a tar archive; unpack it first"),
    (re.compile(rb"GGUF"), "a GGUF file; give the checkpoint that it was made from"),
    (re.compile(rb"\x80[\x00-\x05]"), "a pickle that torch.save did not write; save its tensors with torch.save"),
)


def kind_of(path: Path) -> Kind:
    """Return what a file is.

    Raises:
        WeightsError: none of the kinds, empty, too large, or cut off.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(HEAD_BYTES)
    except OSError as error:
        raise WeightsError(f"{path}: expected weights, got: {error.strerror or error}") from None
    if not 0 < size <= MAX_WEIGHT_BYTES:
        raise WeightsError(f"{path}: expected 1 to {MAX_WEIGHT_BYTES} bytes, got {size}; download it again")
    if start.startswith(b"PK\x03\x04"):
        _check_zip(path, size)
        return "torch zip"
    if start.startswith(TORCH_MAGIC):
        return "torch pickle"
    if start[8:9] == b"{":
        _check_safetensors(path, size, start)
        return "safetensors"
    if start.lstrip().startswith(b"{"):
        return "index"
    got = next((name for pattern, name in OTHERS if pattern.match(start)), None)
    if got is not None:
        raise WeightsError(f"{path}: expected weights, got {got}")
    raise WeightsError(
        f"{path}: expected a whole checkpoint (torch.save's, or safetensors), got a file that begins with "
        f"{start[:8]!r}; download it again"
    )


def _check_safetensors(path: Path, size: int, start: bytes) -> None:
    """Check that the header can be as long as it says; a file that was cut off is refused for that reason."""
    length = struct.unpack("<Q", start[:8])[0]
    if length > min(size - 8, MAX_SAFETENSORS_HEADER):
        raise WeightsError(
            f"{path}: expected a whole checkpoint, got {size} bytes of safetensors whose header has {length}; "
            "download it again"
        )


def _check_zip(path: Path, size: int) -> None:
    """Check that a zip holds a checkpoint, and no more bytes than it has itself: torch.save packs nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except Exception as error:  # zipfile raises a dozen classes for archives that are none
        line = " ".join(str(error).split())[:120] or type(error).__name__
        raise WeightsError(f"{path}: expected a whole checkpoint, got: {line}; download it again") from None
    names = [entry.filename for entry in entries]
    pickles = [entry.file_size for entry in entries if entry.filename.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        shown = ", ".join(repr(name[:40]) for name in names[:3]) or "nothing"
        raise WeightsError(f"{path}: expected weights, got a zip archive of {shown}; unpack it first")
    if any(name.rpartition("/")[2] == "constants.pkl" for name in names):
        raise WeightsError(f"{path}: expected weights, got a TorchScript program; save its state_dict() instead")
    if len(entries) > MAX_ENTRIES or pickles[0] > MAX_PICKLE_BYTES:
        raise WeightsError(f"{path}: expected at most {MAX_ENTRIES} tensors, got {len(entries)} entries in its archive")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise WeightsError(f"{path}: expected an archive as torch.save writes it, got a compressed one; save it again")
    if sum(entry.file_size for entry in entries) > size:
        raise WeightsError(f"{path}: expected at most the {size} bytes of the file in its archive, got more")
