"""Kernels on disk."""

import os
from pathlib import Path

import pytest

from mulo_sd.engines.backends.tensorrt import kernel_file
from mulo_sd.engines.backends.tensorrt.backend import TensorRTBackend
from mulo_sd.engines.backends.tensorrt.kernel_file import KernelFile
from mulo_sd.engines.bundle import Bundle
from tests.engines.backends.tensorrt.tiny_passes import sampler_inputs
from tests.fakes.tensorrt import Fakes


def run_once(bundle: Bundle) -> None:
    TensorRTBackend(bundle, "trt-rtx").run("sampler", sampler_inputs(1))


def test_kernels_are_kept(fakes: Fakes, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is written when the backend goes, named by GPU, version and bundle, and read at the next start."""
    monkeypatch.setenv("MULO_SD_CACHE", str(tmp_path / "made"))
    run_once(bundle)
    (path,) = (tmp_path / "made" / "kernels").iterdir()
    assert path.name.startswith("A_fake_GPU-0-")
    assert path.read_bytes() == b"kernels."
    run_once(bundle)
    assert path.read_bytes() == b"kernels.."


@pytest.mark.parametrize("content", [b"", b"something else", b"raise"])
def test_kernels_from_outside(
    fakes: Fakes, bundle: Bundle, tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged or foreign file is as good as none, and is replaced."""
    monkeypatch.setenv("MULO_SD_CACHE", str(tmp_path))
    run_once(bundle)
    (path,) = (tmp_path / "kernels").iterdir()
    path.write_bytes(content)
    run_once(bundle)
    assert path.read_bytes() == b"kernels."


def test_kernels_nowhere(fakes: Fakes, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither an empty variable nor a folder that cannot be made stops anything."""
    monkeypatch.setenv("MULO_SD_CACHE", "")
    run_once(bundle)
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("MULO_SD_CACHE", str(tmp_path / "file"))
    run_once(bundle)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_kernel_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In size and number."""
    monkeypatch.setattr(kernel_file, "MAX_BYTES", 10)
    monkeypatch.setattr(kernel_file, "MAX_FILES", 3)
    hashes = [f"{number:016x}" for number in range(5)]
    others = [tmp_path / "kernels" / name for name in ("a-game-of-mine.bin", "x-1.bin", "x-1-0000000000000000.bin.bak")]
    others[0].parent.mkdir()
    for other in others:
        other.write_text("mine")
        os.utime(other, (0, 0))  # older than all
    for name in hashes:
        assert KernelFile(tmp_path, "../x", "1", name).write(b"x" * 10)
    assert [other.read_text() for other in others] == ["mine"] * 3
    files = [path for path in (tmp_path / "kernels").iterdir() if path not in others]
    assert len(files) == 3
    assert not KernelFile(tmp_path, "../x", "1", hashes[4]).write(b"x" * 11)
    files[0].write_bytes(b"x" * 11)
    assert sum(KernelFile(tmp_path, "../x", "1", name).read() is None for name in hashes) == 3
