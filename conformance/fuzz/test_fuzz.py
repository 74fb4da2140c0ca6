"""Whatever is read from outside is used or refused in one clear line: no traceback, no hang, no large allocation."""

import json
import resource
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, example, given, settings

from mulo_sd.conformance.fuzz.inputs import Input, make_inputs
from mulo_sd.conformance.rules.branches import must_reach, reach, share_of_examples
from mulo_sd.conformance.subject import Subject
from mulo_sd.engines import generate as generate_command

MAX_SECONDS, MAX_BYTES = 20.0, 2**29
MAX_LINE = 1000
NAMES = (
    "weights of a transformer",
    "weights of a tokenizer",
    "weights of a latent up-sampler",
    "a bundle's manifest",
    "a plan",
    "a prompt",
    "prompts in a file",
    "known failures",
    "rows of a study",
    "a manifest of vectors",
    "arrays of answers",
    "a condition",
    "a published checkpoint",
    "an index of weights",
    "GenEval's prompts",
    "COCO's captions",
)


def many_layers() -> bytes:
    """Return weights whose configuration asks for a million layers: nothing of that size may be made to see so."""
    config = '{"grid_height": 8, "grid_width": 8, "layers": 1048576}'
    text = json.dumps({"__metadata__": {"TransformerConfig": config}}).encode()
    return struct.pack("<Q", len(text)) + text


# Found by fuzzing, and mended since.
FOUND: dict[str, tuple[bytes, ...]] = {
    "rows of a study": (
        b'{"identity": [], "variant": "AR", "task": "one", "task_number": 0, "index": 0, "seed": 0, "holds": true, '
        b'"acceptance_rate": 1.0, "resampled_rate": 0.0, "nfe_target": 4, "nfe_drafter": 0, "cycles": 0, '
        b'"seconds": 0.1, "batched": false, "height": 1, "width": 2, "tokens": "eJxjYGBgAAAABAAB"}\n',
    ),
    "weights of a transformer": (many_layers(),),
}


def peak_bytes() -> int:
    """Return the largest memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def watched(work: Callable[[], None]) -> None:
    """Run something, and assert that it neither takes long nor allocates much."""
    before, started = peak_bytes(), time.perf_counter()
    work()
    assert time.perf_counter() - started < MAX_SECONDS, "it takes too long"
    assert peak_bytes() - before < MAX_BYTES, "it allocates too much"


def read_one(kind: Input, content: bytes) -> None:
    """Read a file; its own error must be one line that says something."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "input"
        path.write_bytes(content)
        try:
            kind.read(path)
        except kind.error as error:
            text = str(error)
            assert text.strip()
            assert len(text.splitlines()) == 1, text
            assert len(text) < MAX_LINE, text
            reach("refused")
        else:
            reach("read")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory, minimal_subject: Subject) -> dict[str, Input]:
    """Every kind of input, by name."""
    bundle = minimal_subject.pipeline.bundle.path
    return {item.name: item for item in make_inputs(tmp_path_factory.mktemp("right"), bundle)}


@pytest.mark.parametrize("name", NAMES)
def test_files(name: str, inputs: dict[str, Input]) -> None:
    """A mutated file is read, or refused by its own error in one line."""
    assert set(inputs) == set(NAMES)
    kind = inputs[name]

    @must_reach("refused")
    @settings(suppress_health_check=list(HealthCheck))
    @given(kind.files)
    def any_file(content: bytes) -> None:
        watched(lambda: read_one(kind, content))

    for content in FOUND.get(name, ()):
        watched(lambda content=content: read_one(kind, content))  # type: ignore[misc]  # bound at once
    any_file()


ARGUMENTS: tuple[str, ...] = (
    "--mode",
    "--seed",
    "--tau",
    "--radius",
    "--neighbours",
    "--drafters",
    "--guidance-scale",
    "--top-p",
)
ARGUMENTS += (
    "--temperature",
    "--draft-window",
    "--up-sampler",
    "--threads",
    "--plan",
    "--overlay",
    "--trace",
    "--nonsense",
)
VALUES: tuple[str, ...] = (
    "0",
    "-1",
    "1",
    "1,2",
    "2,1",
    "nan",
    "inf",
    "1e309",
    "99999999999999999999",
    "",
    "parallel",
    "exact",
    "latent",
)
VALUES += ("serial", "infinite", "no/such/file.png", "a\nb.png", "\x00", "é", "--", "0.5", "x.json")


@must_reach("refused", "drawn")
@example("a star", [])
@example("nonsense", ["--mode", "ar"])
@settings(suppress_health_check=list(HealthCheck), parent=share_of_examples(1))
@given(
    st.sampled_from(("a star", "two red circles", "", "a\x00star", "a star " * 200)) | st.text(max_size=20),
    st.lists(st.tuples(st.sampled_from(ARGUMENTS), st.sampled_from(VALUES)).map(list), max_size=3).map(
        lambda pairs: [part for pair in pairs for part in pair]
    ),
)
def test_command_lines(minimal_subject: Subject, prompt: str, arguments: list[str]) -> None:
    """`python -m engines.generate` draws, or ends with 2 and a line on what was expected; it writes nothing then."""
    bundle = minimal_subject.pipeline.bundle.path.resolve()

    def run() -> None:
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setattr(
                sys, "argv", ["generate", "--bundle", str(bundle), "--out", "image.png", *arguments, "--", prompt]
            )
            try:
                status: int | str | None = generate_command.main()
            except SystemExit as stop:
                status = stop.code
            assert status in (0, 2)
            left = sorted(path.name for path in Path(folder).iterdir())
            assert ("image.png" in left) == (status == 0)
            assert status == 0 or not left
            reach("drawn" if status == 0 else "refused")

    watched(run)
