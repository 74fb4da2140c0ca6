"""Processes that fill one folder: every image is drawn once, whoever starts, meets or dies."""

import contextlib
import errno
import fcntl
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mulo_sd.engines.commands import drawing
from mulo_sd.engines.commands.draw_many import Run
from mulo_sd.engines.commands.image_claims import CLAIMS_NAME, opened_claims
from mulo_sd.engines.commands.shared_work import SharedWork
from mulo_sd.engines.commands.shares import Share
from mulo_sd.engines.files.whole_files import PARTIAL
from tests.engines.commands.runs import OPTIONS, plain_tasks
from tests.in_process import InProcess

IMAGES = 40
# Holds a claim until somebody ends it.
HOLDER = """
import sys, time
from pathlib import Path
from mulo_sd.engines.commands.image_claims import opened_claims
from mulo_sd.engines.commands.run_folder import in_use
with in_use(Path(sys.argv[1])), opened_claims(Path(sys.argv[1])) as claims:
    print(*(claims.take(name) for name in sys.argv[2:]), flush=True)
    time.sleep(600)
"""


class Folder:
    """A folder of images that processes fill, each by the same command."""

    def __init__(self, bundle: Path, prompts: Path, path: Path) -> None:
        self.bundle, self.prompts, self.path = bundle, prompts, path

    def arguments(self, *options: str) -> list[str]:
        files = ["--prompts", str(self.prompts), "--out", str(self.path), "--bundle", str(self.bundle)]
        return [*files, *OPTIONS, "--threads", "1", *options]

    def start(self, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "mulo_sd.engines.generate", *self.arguments(*options)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def start_together(self, *options: tuple[str, ...]) -> list[subprocess.Popen[str]]:
        """Start processes, and let them go on when the last one stands before the folder, which is locked till then."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            started = [self.start(*each) for each in options]
            waits = re.compile(rf"-> FLOCK .*:{os.fstat(descriptor).st_ino} ")
            while len(waits.findall(Path("/proc/locks").read_text())) < len(started):
                assert [process.poll() for process in started] == [None] * len(started)
                time.sleep(0.02)
        finally:
            os.close(descriptor)
        return started

    def content(self) -> dict[str, bytes]:
        return {str(file.relative_to(self.path)): file.read_bytes() for file in self.path.rglob("*") if file.is_file()}


def drawn_by(process: subprocess.Popen[str], total: int = IMAGES) -> int:
    """Return how many images a process says it has drawn, at its end."""
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return told(output, total)


def told(output: str, total: int) -> int:
    """Return how many images were drawn by what the command prints last."""
    match = re.search(rf": {total} images (?:of share \S+ )?of {IMAGES} prompts, (\d+) drawn now$", output.strip())
    assert match is not None, output
    return int(match[1])


@pytest.fixture(scope="module")
def fresh(minimal_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Folder]:
    """Make a folder that nobody has begun."""
    prompts = tmp_path_factory.mktemp("prompts") / "p.txt"
    prompts.write_text("".join(f"a {('red', 'blue', 'green')[n % 3]} star\n" for n in range(IMAGES)))
    return lambda: Folder(minimal_bundle, prompts, tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def alone(fresh: Callable[[], Folder]) -> dict[str, bytes]:
    """What a single process writes."""
    folder = fresh()
    assert drawn_by(folder.start()) == IMAGES
    assert len(folder.content()) == IMAGES + 1  # and run.json
    return folder.content()


@pytest.mark.parametrize(("processes", "batch"), [(2, 1), (4, 3)])
def test_processes_at_once_draw_every_image_once(
    processes: int, batch: int, fresh: Callable[[], Folder], alone: dict[str, bytes]
) -> None:
    """And each has a part in it: nobody waits from the first image on."""
    folder = fresh()
    drawn = [drawn_by(process) for process in folder.start_together(*[("--batch", str(batch))] * processes)]
    assert sum(drawn) == IMAGES
    assert min(drawn) > 0, drawn
    assert folder.content() == alone


def test_a_killed_process_leaves_its_images_to_the_other(fresh: Callable[[], Folder], alone: dict[str, bytes]) -> None:
    """Whenever it dies, with exit status 0 every image is there and none was drawn again."""
    choice, survivor_drew, there_at_kill = random.Random(7), [], []
    for _ in range(3):
        folder = fresh()
        victim, survivor = folder.start_together(("--batch", "3"), ())
        while not list(folder.path.glob("*.png")):
            time.sleep(0.01)
        time.sleep(choice.uniform(0, 0.4))
        there = {path: path.stat().st_mtime_ns for path in folder.path.glob("*.png")}
        victim.kill()
        victim.communicate()
        there_at_kill.append(len(there))
        survivor_drew.append(drawn_by(survivor))
        assert {path: path.stat().st_mtime_ns for path in there} == there
        left = [name for name in folder.content() if name.startswith((PARTIAL, CLAIMS_NAME))]  # by one that was killed
        assert folder.content() == alone | {name: folder.content()[name] for name in left}
    assert min(survivor_drew) > 0, survivor_drew
    assert min(there_at_kill) < IMAGES, there_at_kill


def test_shares_are_the_whole(fresh: Callable[[], Folder], alone: dict[str, bytes], in_process: InProcess) -> None:
    folder = fresh()

    def draw(total: int, *options: str) -> int:
        done = in_process.run("mulo_sd.engines.generate", *folder.arguments(*options))
        assert done.returncode == 0, done.stderr
        return told(done.stdout, total)

    assert draw(14, "--shard", "1/3") == 14
    assert draw(13, "--shard", "2/3") == 13
    assert sorted(set(alone) - set(folder.content())) == [f"{number:05d}.png" for number in range(2, IMAGES, 3)]
    assert draw(13, "--shard", "3/3") == 13
    assert folder.content() == alone
    assert draw(13, "--shard", "2/3") == 0
    assert draw(IMAGES) == 0


def test_shares_that_overlap(fresh: Callable[[], Folder], alone: dict[str, bytes]) -> None:
    folder = fresh()
    started = folder.start_together(("--shard", "1/2"), ("--shard", "1/4"), ())
    assert sum(drawn_by(process, total) for process, total in zip(started, (20, 10, IMAGES), strict=True)) == IMAGES
    assert folder.content() == alone


def test_more_shares_than_images(start: Callable[..., Run], tmp_path: Path) -> None:
    run = start(plain_tasks("a star", "a cross"))
    third = Run(run.pipeline, run.settings, 3, run.tasks, run.folder, Share(3, 3))
    assert (third.total, third.draw(), third.failures) == (0, 0, [])


@pytest.mark.parametrize(
    "text",
    [
        "0/8",
        "9/8",
        "2",
        "2/0",
        "0/0",
        "a/b",
        "",
        "/",
        "1/2/3",
        "-1/2",
        " 1/2",
        "1/2\n",
        "1/1000001",
        "9" * 5000 + "/1",
        "\u0661/2",
    ],
)
def test_shares_that_make_no_sense(text: str, in_process: InProcess, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a star\n")
    asked = in_process.run(
        "mulo_sd.engines.generate", "--prompts", "p.txt", "--out", "images", f"--shard={text}", folder=tmp_path
    )
    assert (asked.returncode, asked.stdout, len(asked.stderr.splitlines())) == (2, "", 1)
    assert asked.stderr.startswith("error: --shard: expected a share such as 2/8, the second of eight, of at most 1000")
    assert len(asked.stderr) < 200
    assert not (tmp_path / "images").exists()
    alone = in_process.run("mulo_sd.engines.generate", "a star", "--out", "a.png", "--shard", "1/2", folder=tmp_path)
    assert (alone.returncode, alone.stderr) == (
        2,
        "error: --shard: expected --prompts beside it, got none; give a file of prompts\n",
    )


def holding(folder: Path, *names: str) -> subprocess.Popen[str]:
    """Start a process that is at work in a folder and claims images, and wait until it does."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder), *names], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().split() == ["True"] * len(names)
    return process


def test_what_others_have_claimed_is_waited_for(fresh: Callable[[], Folder], alone: dict[str, bytes]) -> None:
    """Ctrl-C ends the waiting at once; a claim dies with its process, and its image is drawn here."""
    folder = fresh()
    holder = holding(folder.path, "00001.png", "00007.png")
    others = sorted({*alone} - {"00001.png", "00007.png", "run.json"})
    try:
        waiting = [folder.start(), folder.start()]
        while sorted(path.name for path in folder.path.glob("*.png")) != others:
            assert [process.poll() for process in waiting] == [None, None]
            time.sleep(0.05)
        time.sleep(3 * drawing.SECONDS_BETWEEN_LOOKS)
        assert [process.poll() for process in waiting] == [None, None]
        waiting[0].send_signal(signal.SIGINT)
        asked = time.monotonic()
        output, errors = waiting[0].communicate(timeout=60)
        assert time.monotonic() - asked < 5
        assert (waiting[0].returncode, output) == (130, "")
        there = f"38 of {IMAGES} images are in {folder.path}"
        assert errors.splitlines()[-1] == f"error: interrupted; {there}; run the same command to go on"
    finally:
        holder.kill()
        holder.communicate()
    assert drawn_by(waiting[1]) >= 2
    assert folder.content() == alone


def test_claims_of_one_process_and_of_another(tmp_path: Path) -> None:
    """Runs of one process do not share a claim, and the end of one leaves the other's where they are."""
    with opened_claims(tmp_path) as one:
        with opened_claims(tmp_path) as two:
            assert [one.take("a"), one.take("a"), two.take("a"), two.take("b")] == [True, False, False, True]
            holder = holding(tmp_path, "c")
            assert [one.take("c"), two.take("c")] == [False, False]
        assert claimed_elsewhere(tmp_path, "a", "b") == ["True", "False"]
        assert one.take("b")
        one.release("a")
        assert claimed_elsewhere(tmp_path, "a", "b") == ["False", "True"]
        holder.kill()
        holder.communicate()
        assert one.take("c")
    assert claimed_elsewhere(tmp_path, "a", "b", "c") == ["False"] * 3


def claimed_elsewhere(folder: Path, *names: str) -> list[str]:
    """Ask of another process which images are claimed."""
    asks = "import sys; from pathlib import Path; from mulo_sd.engines.commands.image_claims import Claims\n"
    asks += "claims = Claims(Path(sys.argv[1])); print(*(not claims.take(name) for name in sys.argv[2:]))"
    command = [sys.executable, "-c", asks, str(folder), *names]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_without_locks_everything_may_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that knows none, and a file that is another user's; one process still shares with itself."""

    def unknown(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patch, opened_claims(tmp_path) as claims:
        patch.setattr("fcntl.lockf", unknown)
        assert [claims.take("a"), claims.take("a")] == [True, False]
        claims.release("a")
        assert claims.take("a")
    (tmp_path / CLAIMS_NAME).unlink()
    (tmp_path / CLAIMS_NAME).mkdir()  # cannot be opened for writing, whoever tries
    with opened_claims(tmp_path) as claims, opened_claims(tmp_path) as others:
        assert [claims.take("a"), others.take("a"), others.take("b")] == [True, False, True]


def test_processes_that_come_later_begin_far_away(tmp_path: Path) -> None:
    """Four that go step by step never meet, but when each asks for its first image."""
    with contextlib.ExitStack() as stack:
        drawn: list[int] = []
        asked = [0] * 4
        works = []
        for number in range(4):
            claims = stack.enter_context(opened_claims(tmp_path))

            def counted(image: int, number: int = number) -> str:
                asked[number] += 1
                return str(image)

            works.append(SharedWork(claims, range(1000), counted, drawn.__contains__))
        for _ in range(100):
            for image, work in [(work.take(), work) for work in works]:
                assert image is not None
                drawn.append(image)
                work.give_back(image)
    assert len(drawn) == len(set(drawn)) == 400
    starts = sorted(drawn[:4])
    assert starts[0] == 0
    assert min(after - before for before, after in itertools.pairwise([*starts, 1000])) > 100
    assert asked == [200 + number for number in range(4)]
