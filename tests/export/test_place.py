"""Which folders a build replaces, how, and what builds that were killed or run together leave."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mulo_sd.export import build, place
from mulo_sd.export.own_bundle import BuildError
from mulo_sd.export.place import MARKER, new_bundle, place_of, put_in_place
from mulo_sd.processes import environment

# Builds, as a process of its own: says when its folder is there, goes on when it is told to, or is killed.
BUILDER = """
import os, signal, sys
from pathlib import Path
from mulo_sd.export.place import new_bundle
with new_bundle(Path(sys.argv[1]), False, print) as folder:
    (folder / "onnx").mkdir()
    (folder / "onnx" / "target.onnx").write_bytes(b"half")
    print("ready", flush=True)
    if not sys.stdin.readline():
        os.kill(os.getpid(), signal.SIGKILL)
    (folder / "manifest.json").write_text(sys.argv[2])
"""


def snapshot(folder: Path) -> dict[str, tuple[bool, bytes, int]]:
    """Return everything below a folder, links as they are, with its content and time of change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        content = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (path.is_symlink(), content, path.lstat().st_mtime_ns)
    return found


@pytest.fixture
def ours(demo_bundle: Path, tmp_path: Path) -> Path:
    """A real bundle in a folder of its own, the graphs of its samplers aside."""
    folder = tmp_path / "bundles" / "demo"
    shutil.copytree(demo_bundle, folder, ignore=lambda inside, names: {name for name in names if "sampler" in name})
    return folder


def _parent(ours: Path) -> Path:
    return ours.parent


def _with(name: str) -> Callable[[Path], Path]:
    def add(ours: Path) -> Path:
        path = ours / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
        return ours

    return add


def _with_folder(ours: Path) -> Path:
    (ours / "photos").mkdir()
    return ours


def _with_link(ours: Path) -> Path:
    (ours / "codes.npy").rename(ours.parent / "codes.npy")
    (ours / "codes.npy").symlink_to("../codes.npy")
    return ours


def _with_linked_folder(ours: Path) -> Path:
    (ours / "onnx").rename(ours.parent / "onnx")
    (ours / "onnx").symlink_to("../onnx")
    return ours


def _with_manifest(text: str) -> Callable[[Path], Path]:
    def write(ours: Path) -> Path:
        (ours / "manifest.json").write_text(text)
        return ours

    return write


def _linked_manifest(ours: Path) -> Path:
    (ours / "manifest.json").rename(ours.parent / "manifest.json")
    (ours / "manifest.json").symlink_to("../manifest.json")
    return ours


def _listed_by_hand(ours: Path) -> Path:
    """Give a folder a manifest that names a file which no build writes."""
    manifest = json.loads((ours / "manifest.json").read_text())
    manifest["weights"] = [manifest["codes"] | {"path": "letters/to_my_mother.txt"}]
    (ours / "manifest.json").write_text(json.dumps(manifest))
    return _with("letters/to_my_mother.txt")(ours)


def _file(ours: Path) -> Path:
    return ours / "manifest.json"


def _through_a_link(ours: Path) -> Path:
    """Return the parent of bundles by way of a link: `link/..` is the folder above what the link names."""
    link = ours.parent.parent / "elsewhere"
    link.symlink_to(ours)
    return link / ".."


FOREIGN = {
    "parent of bundles": (_parent, "manifest.json is missing or another's"),
    "parent behind a link": (_through_a_link, "manifest.json is missing or another's"),
    "a file at the top": (_with("notes.txt"), "found notes.txt in it"),
    "a hidden file": (_with(".git/config"), "found .git/config in it"),
    "an array of the user's": (_with("my_codes.npy"), "found my_codes.npy in it"),
    "a graph of the user's": (_with("onnx/mine.onnx"), "found onnx/mine.onnx in it"),
    "weights of the user's": (_with("weights/target.safetensors"), "found weights/target.safetensors in it"),
    "an empty folder in it": (_with_folder, "found photos in it"),
    "a link to a file": (_with_link, "found codes.npy in it"),
    "a link to a folder": (_with_linked_folder, "found onnx in it"),
    "another's manifest": (_with_manifest('{"name": "app", "icons": []}'), "is missing or another's"),
    "vectors": (_with_manifest('{"format_version": 1, "cases": []}'), "is missing or another's"),
    "broken manifest": (_with_manifest("{"), "is missing or another's"),
    "a list": (_with_manifest("[]"), "is missing or another's"),
    "linked manifest": (_linked_manifest, "is missing or another's"),
    "a file of the user's in the manifest": (_listed_by_hand, "found letters/to_my_mother.txt in it"),
    "a file": (_file, "expected a folder or nothing, got a file"),
}


def _refusal(out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    monkeypatch.setattr(sys, "argv", ["build", "--backend", "ort", "--out", str(out), *options])
    assert build.main() == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert len(said.err.splitlines()) == 1
    return said.err


@pytest.mark.parametrize("name", FOREIGN)
def test_force_replaces_nothing_of_anybody_else(
    name: str, ours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, with or without --force, and nothing is touched; --force is advised only where it would help."""
    make, expected = FOREIGN[name]
    out = make(ours)
    before = snapshot(tmp_path)
    for options in ((), ("--force",)):
        said = _refusal(out, monkeypatch, capsys, *options)
        assert expected in said
        assert "--force" not in said
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("where", ["cwd", "below", "home"])
def test_folders_that_are_in_use_stay(
    where: str, ours: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the working folder, nor one above it, nor the home folder is replaced, whatever is in it."""
    before = snapshot(ours)
    if where == "home":
        monkeypatch.setenv("HOME", str(ours))
        out = ours
    else:
        monkeypatch.chdir(ours if where == "cwd" else ours / "onnx")
        out = Path() if where == "cwd" else Path("..")
    assert "got one with the " in _refusal(out, monkeypatch, capsys, "--force")
    assert snapshot(ours) == before


def _built(beside: Path, text: str = "new") -> Path:
    built = beside.parent / ".built" / beside.name
    built.mkdir(parents=True)
    (built / "codes.npy").write_text(text)
    return built


def _older(ours: Path) -> None:
    manifest = json.loads((ours / "manifest.json").read_text())
    (ours / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 2}))


def _corrupt(ours: Path) -> None:
    (ours / "codes.npy").write_bytes(b"")
    (ours / "neighbours.npy").unlink()
    (ours / ".manifest-ab_cd123").write_text("what a killed calibration leaves")


def _empty(ours: Path) -> None:
    shutil.rmtree(ours)
    ours.mkdir()


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("change", [lambda ours: None, _older, _corrupt, _empty])
def test_bundles_and_empty_folders_are_replaced(
    change: Callable[[Path], None], exchange: bool, ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old, a broken and no bundle: with --force alone, and nothing is left beside it."""
    change(ours)
    before, built = snapshot(ours), _built(ours)
    if not exchange:  # as where the system cannot exchange folders
        monkeypatch.setattr(place, "_exchange", lambda first, second: False)
    with pytest.raises(BuildError, match="another build finished there"):
        put_in_place(built, ours, False, print)
    assert snapshot(ours) == before
    put_in_place(built, ours, True, print)
    assert [path.name for path in ours.iterdir()] == ["codes.npy"]
    assert (ours / "codes.npy").read_text() == "new"
    assert list(built.parent.iterdir()) == []


@pytest.mark.parametrize("exchange", [True, False])
def test_what_cannot_be_moved_leaves_the_old_one(exchange: bool, ours: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The move fails, here since what should come is gone: the old bundle is where it was."""
    before = snapshot(ours)
    if not exchange:
        monkeypatch.setattr(place, "_exchange", lambda first, second: False)
    (ours.parent / ".built").mkdir()
    with pytest.raises(FileNotFoundError):
        put_in_place(ours.parent / ".built" / "demo", ours, True, print)
    assert snapshot(ours) == before
    assert list((ours.parent / ".built").iterdir()) == []


def test_what_comes_into_a_bundle_while_another_is_built_is_kept(ours: Path) -> None:
    """The build is dropped in one line, the bundle stays, and nothing lies beside it."""

    def build() -> None:
        with new_bundle(ours, True, print) as folder:
            (folder / "codes.npy").write_text("new")
            (ours / "notes.txt").write_text("mine")

    before = snapshot(ours)
    with pytest.raises(BuildError, match=r"found notes\.txt in it"):
        build()
    assert {name: told for name, told in snapshot(ours).items() if name != "notes.txt"} == before
    assert (ours / "notes.txt").read_text() == "mine"
    assert [path.name for path in ours.parent.iterdir()] == ["demo"]


def test_a_link_stays_and_leads_to_the_new_bundle(ours: Path, tmp_path: Path) -> None:
    """What a link names is replaced where it lies, whatever the link is called."""
    link, ahead = tmp_path / "link", tmp_path / "ahead"
    link.symlink_to(ours)
    ahead.symlink_to(tmp_path / "big disk" / "bundle")
    for out in (link, ahead):
        with new_bundle(out, True, print) as folder:
            (folder / "codes.npy").write_text("new")
        assert out.is_symlink()
        assert (place_of(out) / "codes.npy").read_text() == "new"
    assert [path.name for path in ours.parent.iterdir()] == ["demo"]
    assert [path.name for path in (tmp_path / "big disk").iterdir()] == ["bundle"]


def _builder(out: Path, manifest: str = "") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", BUILDER, str(out), manifest],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _partial(parent: Path, name: str) -> list[Path]:
    return list(parent.glob(f".{name}.partial-*"))


def test_what_killed_builds_left_goes_with_the_next(tmp_path: Path) -> None:
    """Leftovers of this project's builds go, whatever their bundle; running builds and files of others stay."""
    for name in ("first", "second"):
        killed = _builder(tmp_path / name)
        killed.communicate()
        assert _partial(tmp_path, name)
    mine = _partial(tmp_path, "second")[0] / "notes.txt"
    mine.write_text("mine")
    running = _builder(tmp_path / "running")
    alike = tmp_path / ".other.partial-abcdefgh"
    alike.mkdir()
    (alike / "manifest.json").write_text("another program's")
    before, in_work = snapshot(alike), snapshot(_partial(tmp_path, "running")[0])
    for _ in range(2):
        with new_bundle(tmp_path / "first", True, print) as folder:
            (folder / "codes.npy").write_text("new")
        shutil.rmtree(tmp_path / "first")
    assert not _partial(tmp_path, "first")
    assert mine.read_text() == "mine"
    assert snapshot(alike) == before
    assert snapshot(_partial(tmp_path, "running")[0]) == in_work
    running.communicate("go on\n")
    assert running.returncode == 0
    assert sorted(path.name for path in (tmp_path / "running").iterdir()) == ["manifest.json", "onnx"]
    assert not _partial(tmp_path, "running")
    assert not list(tmp_path.glob(".*.lock"))


def test_a_build_killed_as_it_replaced_a_bundle_gives_it_back(ours: Path) -> None:
    """Between two renames the old bundle lies in the folder of the build: the next one puts it back first."""
    before, leftover = snapshot(ours), ours.parent / ".demo.partial-abcdefgh"
    leftover.mkdir()
    (leftover / MARKER).touch()
    ours.rename(leftover / "demo.old")
    (leftover / "demo").mkdir()
    with new_bundle(ours.parent / "another", False, print) as folder:
        (folder / "codes.npy").write_text("new")
    assert snapshot(ours) == before
    assert sorted(path.name for path in ours.parent.iterdir()) == ["another", "demo"]


def test_of_two_builds_of_one_bundle_the_second_waits(ours: Path) -> None:
    """It says so, and then that there is a bundle: neither fails for the other, and nothing is mixed."""
    manifest, out = (ours / "manifest.json").read_text(), ours.parent / "both"
    first = _builder(out, manifest)
    said: list[str] = []
    waiting, ended = threading.Event(), []

    def say(text: str) -> None:
        said.append(text)
        waiting.set()

    def build_second() -> None:
        try:
            with new_bundle(out, False, say):
                ended.append("built")
        except BuildError as error:
            ended.append(str(error))

    second = threading.Thread(target=build_second)
    second.start()
    assert waiting.wait(30)
    assert ended == []
    first.communicate("go on\n")
    second.join(30)
    assert said == [f"{out}: waiting for another build of it to end"]
    assert ended == [f"{out}: there is a bundle already; use it, or replace it with --force"]
    assert (out / "manifest.json").read_text() == manifest
    assert sorted(path.name for path in out.parent.iterdir()) == ["both", "demo"]
