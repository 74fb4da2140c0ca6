"""An ONNX file that is wrong, with its own hash in the manifest, is refused by name; the process never goes down."""

import hashlib
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mulo_sd.conformance.subject import Subject
from mulo_sd.engines.bundle.manifest import MANIFEST_NAME
from mulo_sd.processes import environment

# Loads every bundle that is named and draws with it; prints one line for each. The backend is one that gives logits to
# the host, so that the graphs of sampling and acceptance are run, too.
PROGRAM = """
import sys
from mulo_sd import engines
from mulo_sd.conformance.engines.unscored_backend import UnscoredBackend

for path in sys.argv[1:]:
    try:
        pipeline = engines.load(path, threads=1)
        pipeline.backend = UnscoredBackend(pipeline.backend)
        result = pipeline.generate("a star", mode="parallel", drafters=(1,))
        print("drawn", result.tokens.shape)
    except (engines.BundleError, engines.BackendError) as error:
        assert len(str(error).splitlines()) == 1, str(error)
        print("refused", str(error)[-200:])
    sys.stdout.flush()
"""
GRAPHS = ("target", "drafter_1_condition", "sampler", "acceptance", "up_sampler_2_bicubic", "decoder")
FILES_A_GRAPH = 6


def mutated(content: bytes, generator: random.Random) -> bytes:
    """Flip, overwrite, cut out or repeat some bytes."""
    graph = bytearray(content)
    for _ in range(generator.randint(1, 6)):
        start, length = generator.randrange(len(graph)), generator.choice((1, 1, 2, 8, 64))
        match generator.randrange(4):
            case 0:
                graph[start] ^= 1 << generator.randrange(8)
            case 1:
                graph[start : start + length] = generator.randbytes(length)
            case 2:
                del graph[start : start + length]
            case _:
                graph[start:start] = graph[start : start + length]
    return bytes(graph)


def with_graph(bundle: Path, folder: Path, graph: str, content: bytes) -> Path:
    """Return a bundle in which one graph's file is another, and the manifest says so."""
    shutil.copytree(bundle, folder)
    manifest = json.loads((folder / MANIFEST_NAME).read_text())
    entry = manifest["graphs"][graph]["onnx"]
    (folder / entry["path"]).write_bytes(content)
    entry |= {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize("graph", GRAPHS)
def test_wrong_graphs(graph: str, tmp_path: Path, minimal_subject: Subject) -> None:
    """Each mutated file is refused in one line, or draws something."""
    bundle = minimal_subject.pipeline.bundle
    content = bundle.file(bundle.manifest.graphs[graph].onnx).read_bytes()
    generator = random.Random(f"{graph}, 5")
    others = [mutated(content, generator) for _ in range(FILES_A_GRAPH - 3)] + [
        b"",
        b"\x08",
        content[: len(content) // 2],
    ]
    folders = [with_graph(bundle.path, tmp_path / str(index), graph, other) for index, other in enumerate(others)]
    command = [sys.executable, "-c", PROGRAM, *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment())
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-2000:]}"
    assert len(done.stdout.splitlines()) == FILES_A_GRAPH
    assert done.stdout.count("refused") >= 3, done.stdout
