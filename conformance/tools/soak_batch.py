"""python -m conformance.tools.soak_batch: kill a run of images on Ray again and again, and count the images.

Its command is killed and started again; so are single actors meanwhile. In the end every image has to be there, drawn
once, equal to a single process's, and no process may be left.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mulo_sd.conformance.tools.serving.replicas import batch_actors, descendants, is_alive
from mulo_sd.conformance.tools.serving.watched_folder import WatchedFolder
from mulo_sd.engines.commands.command_line import command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.files.paths import user_path
from mulo_sd.processes import environment

SHAPES = ("circle", "square", "star", "cross")
COLOURS = ("red", "green", "blue", "yellow", "pink")
SECONDS_OF_A_RUN = 1800.0
# Ray's own agents look for their parents now and then.
SECONDS_UNTIL_ALL_ENDED = 120.0


class SoakError(AssertionError):
    """Something that must not happen."""


class Runs:
    """Runs of one file of prompts, alone and on Ray."""

    def __init__(self, bundle: Path, folder: Path, images: int) -> None:
        """Write the prompts.

        Args:
            bundle: The demo's, or of small random models.
            folder: Takes the prompts and the folders of images.
            images: How many.
        """
        self.bundle, self.folder, self.images = bundle, folder, images
        prompts = [f"a {COLOURS[n % len(COLOURS)]} {SHAPES[n % len(SHAPES)]}\n" for n in range(images)]
        (folder / "prompts.txt").write_text("".join(prompts), encoding="utf-8")

    def start(self, name: str, *options: str) -> subprocess.Popen[str]:
        """Start the command that fills a folder; its standard error is appended to a file beside it."""
        files = ["--prompts", str(self.folder / "prompts.txt"), "--bundle", str(self.bundle)]
        out = ["--out", str(self.folder / name), "--threads", "1"]
        with (self.folder / f"{name}.log").open("a", encoding="utf-8") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "mulo_sd.engines.generate", *files, *out, *options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment(),
            )

    def end(self, process: subprocess.Popen[str]) -> str:
        """Wait for a command that has to end well; return what it said.

        Raises:
            SoakError: it does not.
        """
        output, _ = process.communicate(timeout=SECONDS_OF_A_RUN)
        if process.returncode:
            logs = [path.read_text(encoding="utf-8")[-2000:] for path in self.folder.glob("*.log")]
            raise SoakError(f"exit status: expected 0, got {process.returncode}: {logs}")
        return output.strip()

    def content(self, name: str) -> dict[str, bytes]:
        """Return a folder's files."""
        files = [path for path in (self.folder / name).rglob("*") if path.is_file()]
        return {path.relative_to(self.folder / name).as_posix(): path.read_bytes() for path in files}


def wait_for_the_end(processes: set[int]) -> float:
    """Wait until processes have ended, and return how long that took.

    Raises:
        SoakError: one does not end.
    """
    began = time.monotonic()
    while left := {process for process in processes if is_alive(process)}:
        if time.monotonic() - began > SECONDS_UNTIL_ALL_ENDED:
            raise SoakError(f"processes: expected none, got {left}")
        time.sleep(0.1)
    return time.monotonic() - began


@contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """End a command whatever happens."""
    try:
        yield
    finally:
        process.kill()
        process.communicate()


def kill_the_command(runs: Runs, watched: WatchedFolder, choice: random.Random, until: int) -> set[int]:
    """Kill the command, and one of its actors before, when about so many images are there; return what it had begun.

    Raises:
        SoakError: an image does not come, or a process is left.
    """
    process = runs.start("ray", "--ray")
    with _ended(process):
        there = watched.count
        if not watched.wait_for(max(there + 1, (there + until) // 2)):  # so its actors are at work
            raise SoakError(f"images: expected {until}, got {watched.count}")
        os.kill(choice.choice(batch_actors(process.pid)), signal.SIGKILL)
        if not watched.wait_for(until):
            raise SoakError(f"images: expected {until} after an actor died, got {watched.count}")
        time.sleep(choice.uniform(0, 0.5))
        left = descendants(process.pid)
        actors = batch_actors(process.pid)
        process.kill()
        process.wait()
    ended = wait_for_the_end(set(actors))
    print(f"killed: {there} to {watched.count} images; the actors had ended after {ended:.1f} s", flush=True)
    return left


def soak(runs: Runs, kills: int, seed: int) -> None:
    """Kill a run so many times, let it end, and compare.

    Raises:
        SoakError: an image is missing, another one, or was drawn twice.
    """
    began = time.monotonic()
    runs.end(runs.start("alone"))
    print(f"alone: {runs.images} images in {time.monotonic() - began:.0f} s", flush=True)
    choice, left = random.Random(seed), set[int]()
    with WatchedFolder(runs.folder / "ray") as watched:
        for kill in range(kills):
            until = max(watched.count + 2, (kill + 1) * runs.images // (kills + 1))
            left |= kill_the_command(runs, watched, choice, until)
        began = time.monotonic()
        last = runs.start("ray", "--ray")
        with _ended(last):
            print(f"last: {runs.end(last)}, in {time.monotonic() - began:.0f} s", flush=True)
    print(f"processes of Ray: all had ended {wait_for_the_end(left):.1f} s later", flush=True)
    if watched.written_twice:
        raise SoakError(f"images: expected each to be drawn once, got {watched.written_twice} twice")
    alone, drawn = runs.content("alone"), runs.content("ray")
    if drawn != alone:
        differing = sorted(name for name in alone | drawn if alone.get(name) != drawn.get(name))
        raise SoakError(f"images: expected a single process's, got others: {differing[:10]}")
    print(f"{runs.images} images, each drawn once and equal to a single process's; killed {kills} times")


@command
def main() -> int:
    """Kill, and print what was seen.

    Returns:
        0; 1 where something happened that must not.
    """
    parser = command_parser("conformance.tools.soak_batch", __doc__)
    parser.add_argument("--bundle", type=user_path, required=True, help="folder of the demo's bundle")
    parser.add_argument("--images", type=int, default=200, help="of the run; default: %(default)s")
    parser.add_argument("--kills", type=int, default=10, help="of the command; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the moments; default: %(default)s")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            soak(Runs(arguments.bundle, Path(folder), arguments.images), arguments.kills, arguments.seed)
        except SoakError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
