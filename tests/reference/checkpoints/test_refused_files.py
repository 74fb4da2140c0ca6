"""Files that are no weights, or claim what is not in them: refused in one line, nothing large made."""

import io
import json
import pickle
import resource
import struct
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from mulo_sd.reference.checkpoints import kinds
from mulo_sd.reference.checkpoints.files import read_checkpoint
from mulo_sd.reference.weights import WeightsError
from tests.reference.checkpoints import published
from tests.reference.checkpoints.published import MakeWeights
from tests.reference.checkpoints.refusals import refusal


def at(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def test_other_files_are_told_by_their_content(tmp_path: Path) -> None:
    """Whatever their names say."""
    tar = b"a" * 257 + b"ustar\x0000" + b"\0" * 300
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("readme.txt", "weights inside")
    for name, content, told in (
        ("a.safetensors", b"<!DOCTYPE html><html>404</html>", "got a web page"),
        ("a.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "got a Git LFS pointer"),
        ("a.pt", b"\x1f\x8b\x08\x00aaaa", "got a packed file; unpack it first"),
        ("b.pt", tar, "got a tar archive; unpack it first"),
        ("c.pt", packed.getvalue(), "got a zip archive of 'readme.txt'; unpack it first"),
        ("d.pt", pickle.dumps({"a": 1}, 4), "got a pickle that torch.save did not write"),
        ("e.pt", pickle.dumps({"a": 1}, 2), "got a pickle that torch.save did not write"),
        ("f.pt", b"GGUF\x03\0\0\0" + b"\0" * 99, "got a GGUF file"),
        ("g.safetensors", b"{}", "got other JSON"),
        ("h.pt", b'{"weight_map": ', "got no JSON"),
        ("i.pt", b"hello there", "begins with b'hello th'; download it again"),
        ("j.pt", b"PK\x03\x04" + b"\0" * 60, "expected a whole checkpoint"),
    ):
        assert told in refusal(at(tmp_path, name, content)), name
    assert "found none" in refusal(tmp_path / "nothing.pt")
    (tmp_path / "empty").mkdir()
    assert "one file of weights or one index, got none" in refusal(tmp_path / "empty")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("form", ["zip", "pickle", "safetensors"])
def test_truncated_files(form: str, share: float, make_weights: MakeWeights, tmp_path: Path) -> None:
    """Cut off anywhere, also under another format's name."""
    tensors = published.weights("llamagen_c2i_tiny", make_weights)
    whole = tmp_path / "whole"
    if form == "safetensors":
        save_file(tensors, whole)
    else:
        torch.save({"model": tensors}, whole, _use_new_zipfile_serialization=form == "zip")
    content = whole.read_bytes()
    for name in ("a.pt", "a.safetensors"):
        told = refusal(at(tmp_path, name, content[: int(len(content) * share)]))
        assert "expected a whole checkpoint" in told or "no plain checkpoint" in told


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def repeated(*shape: int) -> Tensor:
    """A tensor that claims to be large, of one number in the file."""
    return torch.zeros(1).expand(*shape)


def test_claims_of_sizes_that_are_not_there(make_weights: MakeWeights, tmp_path: Path) -> None:
    before = peak_bytes()
    tensors = published.weights("llamagen_c2i_tiny", make_weights)
    dim = tensors["norm.weight"].shape[0]
    large = {"tok_embeddings.weight": repeated(10**9, dim), "output.weight": repeated(10**9, dim)}
    told = refusal(published.save({**tensors, **large}, tmp_path / "a.pt"))
    assert "expected 96000000000 numbers in the file, got fewer, repeated" in told
    header = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    claim = struct.pack("<Q", len(header)) + header + b"\0" * 64
    assert "expected a whole checkpoint" in refusal(at(tmp_path, "b.safetensors", claim))
    header = struct.pack("<Q", 2**62) + b'{"a": 1}'
    assert "whose header has 4611686018427387904" in refusal(at(tmp_path, "c.safetensors", header))
    assert peak_bytes() - before < 2**28


def rewritten(path: Path, compression: int, **changed: bytes) -> Path:
    """Write a zip again, compressed, and with some of its entries changed."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, changed.get(name.rpartition("/")[2], content))
    return path


def test_archives_that_unpack_to_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.save stores tensors as they are: nothing is unpacked."""
    content = {"model": {"a": torch.zeros(2**20)}}
    torch.save(content, tmp_path / "a.pt")
    packed = rewritten(tmp_path / "a.pt", zipfile.ZIP_DEFLATED)
    assert packed.stat().st_size < 2**16
    assert "got a compressed one" in refusal(packed)
    torch.save(content, tmp_path / "b.pt")
    monkeypatch.setattr(kinds, "MAX_PICKLE_BYTES", 16)
    assert "expected at most" in refusal(tmp_path / "b.pt")
    monkeypatch.setattr(kinds, "MAX_PICKLE_BYTES", 2**20)
    monkeypatch.setattr(kinds, "MAX_ENTRIES", 1)
    assert "expected at most 1 tensors" in refusal(tmp_path / "b.pt")


def test_overlapping_entries(tmp_path: Path) -> None:
    """Many entries of a zip may share the same bytes, and claim more than the file has."""
    torch.save({"model": {"a": torch.zeros(2**12)}}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as archive:
        data = next(item for item in archive.infolist() if item.filename.endswith("/data/0"))
        copies = []
        for number_of_copy in range(1, 50):
            copy = zipfile.ZipInfo(f"a/data/{number_of_copy}")
            copy.header_offset, copy.CRC = data.header_offset, data.CRC
            copy.file_size = copy.compress_size = data.file_size
            copies.append(copy)
    with zipfile.ZipFile(tmp_path / "a.pt", "a") as archive:
        for copy in copies:
            archive.filelist.append(copy)
            archive.NameToInfo[copy.filename] = copy
        archive.writestr("a/more", b"1")
    assert "bytes of the file in its archive, got more" in refusal(tmp_path / "a.pt")


def test_tensors_of_other_kinds(make_weights: MakeWeights, tmp_path: Path) -> None:
    tensors = published.weights("llamagen_c2i_tiny", make_weights)
    weight = tensors["output.weight"]
    for wrong in (
        weight.to(torch.int8),
        weight.to(torch.complex64),
        weight.to_sparse(),
        weight.to("meta"),
    ):
        told = refusal(published.save({**tensors, "output.weight": wrong}, tmp_path / "a.pt"))
        assert "output.weight: expected plain floating-point numbers" in told


def test_a_file_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = at(tmp_path, "a.pt", b"PK\x03\x04")

    def refuse(self: Path, *_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(WeightsError, match="expected weights, got: Permission denied"):
        read_checkpoint(path)
