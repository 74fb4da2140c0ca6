"""How a run of images is spread over a cluster, without Ray."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from mulo_sd.engines.cluster.batch_options import BatchOptions, images_a_block
from mulo_sd.engines.cluster.room import check_room
from mulo_sd.engines.numbers import SettingsError
from mulo_sd.missing import missing_package
from tests.in_process import InProcess


@pytest.mark.parametrize(
    ("missing", "actors", "batch", "size"),
    [
        (1, 2, 1, 1),
        (20, 2, 1, 3),  # four blocks an actor
        (20, 2, 8, 8),  # a batch
        (5, 2, 8, 5),
        (200, 2, 1, 4),  # no more than four batches
        (200, 2, 8, 25),
        (200_000, 8, 1, 100),  # 2,000 blocks
    ],
)
def test_blocks(missing: int, actors: int, batch: int, size: int) -> None:
    assert images_a_block(missing, actors, batch) == size


def test_actors_fill_the_cluster() -> None:
    resources = {"CPU": 16.0, "GPU": 3.0, "memory": 9e9}
    assert BatchOptions().actors_in(resources) == 16
    assert BatchOptions(cpus_each=3).actors_in(resources) == 5
    assert BatchOptions(gpus_each=1).actors_in(resources) == 3
    assert BatchOptions(gpus_each=0.5, cpus_each=8).actors_in(resources) == 2
    assert BatchOptions(cpus_each=0).actors_in(resources) == 1
    assert BatchOptions(actors=7).actors_in(resources) == 7
    assert BatchOptions(ray_address="auto", actors=99).actors_in(resources) == 99  # it may grow
    assert BatchOptions(ray_address="auto", gpus_each=1).actors_in({"CPU": 1.0}) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"actors": 0}, r"actors: expected a whole number in 1\.\.4096, got 0"),
        ({"cpus_each": float("nan")}, r"cpus-each: expected a number in 0\.\.4096, got nan"),
        ({"gpus_each": -1}, r"gpus-each: expected a number in 0\.\.64, got -1"),
    ],
)
def test_bad_numbers(options: dict[str, float], message: str) -> None:
    with pytest.raises(SettingsError, match=f"^{message}"):
        BatchOptions(**options)  # type: ignore[arg-type]  # that is the question


@pytest.mark.parametrize(
    ("count", "each", "resource", "message"),
    [
        (17, 1, "CPU", "actors: expected at most 16, since each takes 1 of 16 CPUs, got 17; give fewer, or a smaller"),
        (1, 17, "CPU", "cpus-each: expected at most the 16 CPUs of this machine, got 17"),
        (1, 1, "GPU", "gpus-each: expected at most the 0 GPUs of this machine, got 1"),
        (4, 5.5, "CPU", "actors: expected at most 2, since each takes 5.5 of 16 CPUs, got 4"),
    ],
)
def test_what_a_machine_has_no_room_for(count: int, each: float, resource: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check_room("actors", count, each, resource, {"CPU": 16.0})
    assert str(caught.value).startswith(message)


def test_what_it_has_room_for() -> None:
    check_room("actors", 16, 1, "CPU", {"CPU": 16.0})
    check_room("actors", 3, 0, "GPU", {"CPU": 16.0})


@pytest.mark.parametrize("ends", ["in order", "by an error", "at once"])
def test_the_last_words_are_of_a_process_that_is_ended(ends: str) -> None:
    """By its own `os._exit`, as Ray's native code ends it."""
    last = {"in order": "pass", "by an error": "raise SystemExit(3)", "at once": "os._exit(1)"}[ends]
    script = (
        f"import os\nfrom mulo_sd.engines.cluster.last_words import last_words\nwith last_words('told'):\n    {last}"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ("told\n" if ends == "at once" else "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--prompts", "p.txt", "--actors", "2"), "--actors: expected --ray beside it, got none"),
        (("--prompts", "p.txt", "--ray-address", "auto"), "--ray-address: expected --ray beside it, got none"),
        (("a star", "--ray"), "--ray: expected --prompts beside it, got none; give a file of prompts"),
        (("a star", "--gpus-each", "1"), "--gpus-each: expected --prompts beside it, got none; give a file of prompts"),
    ],
)
def test_options_without_what_they_belong_to(
    arguments: tuple[str, ...], message: str, in_process: InProcess, tmp_path: Path
) -> None:
    (tmp_path / "p.txt").write_text("a star\n")
    done = in_process.run("mulo_sd.engines.generate", *arguments, "--out", "images.png", folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {message}\n")


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="the extra `ray` is installed")
def test_without_the_extra(in_process: InProcess, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a star\n")
    with pytest.raises(ModuleNotFoundError) as error:
        in_process.run("mulo_sd.engines.generate", "--prompts", "p.txt", "--ray", "--out", "images", folder=tmp_path)
    told = missing_package(error.value, "engines.generate")
    assert told == 'ray is not installed; install it with `pip install "mulo-sd[ray]"`'
    assert not (tmp_path / "images").exists()
