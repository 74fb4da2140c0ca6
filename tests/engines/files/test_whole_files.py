"""Files that are there whole or not at all: through links, with their modes, and refused before the work."""

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mulo_sd.engines.files.whole_files import check_writable, make_folder, write_bytes_whole, write_whole

NOBODY = 65534


@contextlib.contextmanager
def without_rights(folder: Path) -> Iterator[None]:
    """Be somebody whom modes stop: root is not."""
    if os.geteuid() != 0:
        yield
        return
    for path in [folder, *folder.parents]:
        if path.owner() == "root" and path.stat().st_mode & 0o077 == 0:
            path.chmod(0o711)
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_link_stays_and_its_file_is_written(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "near").mkdir()
    target, link, links = tmp_path / "far" / "a.bin", tmp_path / "near" / "a.bin", tmp_path / "b.bin"
    link.symlink_to("../far/a.bin")
    links.symlink_to(link)
    for content in (b"made", b"replaced"):  # it leads nowhere at first
        check_writable(links)
        write_bytes_whole(links, content)
        assert link.is_symlink()
        assert links.is_symlink()
        assert target.read_bytes() == content
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.bin", "a.bin", "b.bin", "far", "near"]


def test_a_link_to_another_file_system(tmp_path: Path) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("needs a second file system")
    target = shared / f"mulo-sd-test-{os.getpid()}"
    (tmp_path / "a.bin").symlink_to(target)
    try:
        write_bytes_whole(tmp_path / "a.bin", b"far")
        assert target.read_bytes() == b"far"
        assert (tmp_path / "a.bin").is_symlink()
    finally:
        target.unlink(missing_ok=True)


def test_what_cannot_be_moved_to_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a container mounts a single file."""
    (tmp_path / "a.bin").write_bytes(b"old")

    def busy(self: Path, target: Path) -> None:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(Path, "replace", busy)
    inode = (tmp_path / "a.bin").stat().st_ino
    write_bytes_whole(tmp_path / "a.bin", b"new")
    assert ((tmp_path / "a.bin").read_bytes(), (tmp_path / "a.bin").stat().st_ino) == (b"new", inode)


def test_modes(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes_whole(tmp_path / "new", b"")
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
        (tmp_path / "old").write_bytes(b"")
        (tmp_path / "old").chmod(0o664)
        write_bytes_whole(tmp_path / "old", b"a")
        assert stat.S_IMODE((tmp_path / "old").stat().st_mode) == 0o664
    finally:
        os.umask(before)


def loop(folder: Path) -> Path:
    (folder / "a").symlink_to(folder / "b")
    (folder / "b").symlink_to(folder / "a")
    return folder / "a"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def link_to_a_device(folder: Path) -> Path:
    (folder / "a").symlink_to("/dev/full")
    return folder / "a"


def link_into_nothing(folder: Path) -> Path:
    (folder / "a").symlink_to(folder / "no" / "folder")
    return folder / "a"


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (loop, "in a circle"),
        (pipe, "a device or a pipe"),
        (link_to_a_device, "a device or a pipe"),
        (lambda folder: Path("/dev/null"), "a device or a pipe"),
        (lambda folder: folder, "got a folder"),
        (link_into_nothing, "a folder that exists"),
        (lambda folder: folder / "no" / "a", "a folder that exists"),
        (lambda folder: folder / ("a" * 300), "name too long"),
    ],
)
def test_what_cannot_be_written_is_told_before(make: Callable[[Path], Path], told: str, tmp_path: Path) -> None:
    path = make(tmp_path)
    there = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError, match=told):
        check_writable(path)
    if told != "a folder that exists":
        with pytest.raises(OSError, match=told):
            write_bytes_whole(path, b"a")
    assert sorted(tmp_path.rglob("*")) == there


def test_read_only(tmp_path: Path) -> None:
    """A file that must not be written is left alone, and a folder that cannot be written is told before the work."""
    (tmp_path / "a").write_bytes(b"kept")
    (tmp_path / "a").chmod(0o444)
    with without_rights(tmp_path):
        for call in (check_writable, lambda path: write_bytes_whole(path, b"new")):
            with pytest.raises(PermissionError, match="expected a file that may be written"):
                call(tmp_path / "a")
        tmp_path.chmod(0o555)
        with pytest.raises(PermissionError, match="denied"):
            check_writable(tmp_path / "new")
        tmp_path.chmod(0o755)
    assert (tmp_path / "a").read_bytes() == b"kept"


def test_folders(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "far" / "folder")
    for _ in range(2):
        make_folder(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "folder").is_dir()
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "circle").symlink_to("circle")
    for name, told in (("file", "got a file"), ("circle", "in a circle")):
        with pytest.raises(OSError, match=told):
            make_folder(tmp_path / name)


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")

    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        write_whole(tmp_path / "a", fail)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"old")]


def test_the_commands_own_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "out").open("w") as stream:
        monkeypatch.setattr(sys, "__stdout__", stream)
        with pytest.raises(OSError, match="own output"):
            check_writable(tmp_path / "out")
