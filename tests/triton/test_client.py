"""client.py, as its user runs it: what it refuses, and how long it waits for a process that answers no more."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from mulo_sd.conformance.tools.serving.tritonserver import Environments, TritonServer

# Asks for a long image; prints when its first partial one is there, and how it ends.
ASK = """
import sys
sys.path.insert(0, sys.argv[1])
import client, tritonclient.grpc as triton
with triton.InferenceServerClient(sys.argv[2]) as server:
    settings = {"mode": "ar", "output_format": "png"}
    drawing = client.images(server, "narrow", "a red star", 21, settings, seconds=8)
    next(drawing)
    print("drawing", flush=True)
    try:
        print(len(list(drawing)))
    except TimeoutError as error:
        print(error)
"""


def test_a_stub_that_dies_in_flight(environments: Environments, repository: Path) -> None:
    """Its client gets no answer, and ends."""
    with TritonServer(environments, repository, "narrow") as server:
        (stub,) = server.processes("triton_python_backend_stub")
        command = [str(environments.server / "bin" / "python"), "-c", ASK, str(repository), server.grpc]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asking:
            assert asking.stdout is not None
            assert asking.stdout.readline() == "drawing\n"
            os.kill(stub, signal.SIGKILL)
            told = asking.communicate(timeout=30)[0]
    assert told.startswith("expected the image within 8 s, got ")


def test_no_image_in_time(server: TritonServer, repository: Path, tmp_path: Path) -> None:
    words = ["narrow", "a red star", "1", "0.001"]
    done = server.environments.python(str(repository / "client.py"), server.grpc, *words, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "error: expected the image within 0.001 s, got 0 partial images and no more: if the process that draws has "
        "died, unload the model and load it again\n"
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["abc"], "SEED: expected a whole number in 0..18446744073709551615, got 'abc'"),
        (["-1"], "SEED: expected a whole number in 0..18446744073709551615, got '-1'"),
        ([""], "SEED: expected a whole number in 0..18446744073709551615, got ''"),
        (["1.5"], "SEED: expected a whole number in 0..18446744073709551615, got '1.5'"),
        (["\u0663"], "SEED: expected a whole number in 0..18446744073709551615, got '\u0663'"),
        ([str(2**64)], "SEED: expected a whole number in 0..18446744073709551615, got '18446744073709551616'"),
        (["9" * 5000], f"SEED: expected a whole number in 0..18446744073709551615, got '{'9' * 40}'"),
        (["1", "nan"], "SECONDS: expected a number above 0, at most 1000000, got 'nan'"),
        (["1", "0"], "SECONDS: expected a number above 0, at most 1000000, got '0'"),
        (["1", "soon"], "SECONDS: expected a number above 0, at most 1000000, got 'soon'"),
    ],
)
def test_a_bad_argument(server: TritonServer, repository: Path, tmp_path: Path, words: list[str], line: str) -> None:
    client = str(repository / "client.py")
    done = server.environments.python(client, server.grpc, "minimal", "a red star", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {line}\n")
    assert not list(tmp_path.iterdir())


def test_the_largest_seed(server: TritonServer, repository: Path, tmp_path: Path) -> None:
    words = ["minimal", "a red star", str(2**64 - 1), "60"]
    done = server.environments.python(str(repository / "client.py"), server.grpc, *words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "image.png").read_bytes().startswith(b"\x89PNG")


def test_a_working_folder_that_cannot_be_written(server: TritonServer, repository: Path) -> None:
    words = [str(repository / "client.py"), server.grpc, "minimal", "a red star"]
    done = server.environments.python(*words, cwd="/proc")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: partial_0.png: cannot write it into the working folder: No such file or directory\n"
