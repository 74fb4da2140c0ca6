"""The training command: what cannot be used ends it with one line, exit status 2, and nothing written."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mulo_sd.processes import ROOT
from mulo_sd.reference.demo.shipped import SHIPPED
from mulo_sd.reference.latent import LatentScalerConfig, LatentUpSampler
from mulo_sd.reference.train import choices, finish
from mulo_sd.reference.train.material import material_of_world
from mulo_sd.reference.train.worlds import World
from mulo_sd.reference.transformer import Transformer
from mulo_sd.reference.weights import save_weights
from tests.reference.train.commanded import TINY, command, refusal
from tests.reference.train.folder.made import add_pictures

DEMO = ("--world", "demo")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of a few captioned pictures."""
    add_pictures(tmp_path / "images", 16)
    return tmp_path / "images"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "the following arguments are required: --out"),
        (["--out", "x"], "--images: expected a folder of pictures, or --world, got none of them"),
        (["--out", "x", "--images", ".", *DEMO], "--images: expected a folder of pictures, or --world, got both"),
        (["unicorn", "--out", "x", *DEMO], "model: expected some of tokenizer, drafter_1, drafter_2, target, up_sa"),
        (["drafter_2", "--out", "x", *DEMO, "--drafters", "1"], "model: expected some of tokenizer, drafter_1, target"),
        (["up_sampler_3", "--out", "x", *DEMO], "got 'up_sampler_3'"),
        (["up_sampler", "--out", "x", *DEMO], "got 'up_sampler'"),
        (["drafter_1", "--out", "x", *DEMO, "--steps", "0"], "--steps: expected a whole number in 1.."),
        (["drafter_1", "--out", "x", *DEMO, "--steps", "-5"], "--steps: expected a whole number in 1.."),
        (["drafter_1", "--out", "x", *DEMO, "--steps", "many"], "argument --steps: invalid int value: 'many'"),
        (["drafter_1", "--out", "x", *DEMO, "--batch", "0"], "--batch: expected a whole number in 1.."),
        (["--out", "x", *DEMO, "--workers", "0"], "--workers: expected a whole number in 1.."),
        (["--out", "x", *DEMO, "--threads", "0"], "--threads: expected a whole number in 1.."),
        (["--out", "x", *DEMO, "--threads", "20000"], "--threads: expected a whole number in 1..1024, got 20000"),
        (["--out", "x", *DEMO, "--score-per-task", "-1"], "--score-per-task: expected a whole number in 0.."),
        (["--out", "x", *DEMO, "--pixels", "8"], "--pixels: expected a whole number in 16..512, got 8"),
        (["--out", "x", *DEMO, "--pixels", "100"], "--pixels: expected a multiple of 16, 32 at least, with --factor 4"),
        (["--out", "x", *DEMO, "--drafters", "3"], "--drafters: expected a whole number in 1..2, got 3"),
        (["--out", "x", *DEMO, "--factor", "16"], "--factor: expected 4 or 8, got 16"),
        (["--out", "x", *DEMO, "--codes", "1"], "--codes: expected a whole number in 2..65536, got 1"),
        (["--out", "x", *DEMO, "--width", "0"], "--width: expected a whole number in 8.."),
        (["--out", "x", *DEMO, "--layers", "0"], "--layers: expected a whole number in 1..256, got 0"),
        (["--out", "x", *DEMO, "--heads", "0"], "--heads: expected a whole number in 1..256, got 0"),
        (["--out", "x", *DEMO, "--dim", "100"], "--dim: expected a multiple of 4 * --heads = 16, got 100"),
        (["--out", "x", *DEMO, "--seed", "-1"], "--seed: expected a whole number in 0.."),
        (["--out", "x", *DEMO, "--patience", "-1"], "--patience: expected a whole number in 0.."),
        (["--out", "x", *DEMO, "--minutes", "0"], "--minutes: expected a number in 0.01.."),
        (["--out", "x", *DEMO, "--minutes", "nan"], "--minutes: expected a number in 0.01.."),
        (["target", "--out", "x", *DEMO, "--rate", "nan"], "--rate: expected a number in "),
        (["target", "--out", "x", *DEMO, "--rate", "fast"], "argument --rate: invalid float value: 'fast'"),
        (["target", "--out", "x", *DEMO, "--focus-weight", "inf"], "--focus-weight: expected a number in "),
        (["target", "--out", "x", *DEMO, "--rescaled-share", "nan"], "--rescaled-share: expected a number in 0..1"),
        (["tokenizer", "--out", "x", *DEMO, "--colour", "red"], "unrecognized arguments: --colour red"),
        # Contradictions.
        (["--out", "x", *DEMO, "--captions", "c.csv"], "--captions: expected none beside --world, got one"),
        (["--out", "x", *DEMO, "--augment", "flip"], "--augment: expected none beside --world"),
        (["--out", "x", *DEMO, "--held-out-share", "0.1"], "--held-out-share: expected none beside --world"),
        (["--out", "x", *DEMO, "--name", "mine"], "--name: expected none beside --world"),
        (["--out", "x", *DEMO, "--steps", "9"], "--steps: expected one model by name beside it, got none"),
        (["target", "drafter_1", "--out", "x", *DEMO, "--rate", "0.1"], "--rate: expected one model by name beside it"),
        (["tokenizer", "--out", "x", *DEMO, "--batch", "9"], "--batch: expected none beside the model tokenizer"),
        (["up_sampler_2", "--out", "x", *DEMO, "--rate", "0.1"], "--rate: expected none beside a latent sampler"),
        (["target", "--out", "x", *DEMO, "--steps", "9", "--minutes", "1"], "--steps: expected none beside --minutes"),
        (
            ["target", "--out", "x", *DEMO, "--latent-samplers"],
            "--latent-samplers: expected none beside models by",
        ),
        (["target", "--out", "x", *DEMO, "--target", "t"], "--target: expected none beside models other than head and"),
        (
            ["tokenizer", "--out", "x", *DEMO, "--tokenizer", "t"],
            "--tokenizer: expected none beside the model token",
        ),
        (["tokenizer", "--out", "x", *DEMO, "--warm-start", "t"], "--warm-start: expected none beside models that are"),
        (["head", "--out", "x", *DEMO, "--rescaled-share", "0"], "--rescaled-share: expected none beside models that"),
        (
            ["target", "--out", "x", *DEMO, "--sampler-loss", "token"],
            "--sampler-loss: expected none beside models wi",
        ),
        (["--out", "x", *DEMO, "--tokenizer", "t", "--codes", "9"], "--codes: expected none beside --tokenizer"),
    ],
)
def test_wrong_argument_is_told_in_one_line(
    arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert told in refusal(*arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--captions", "none.csv"], "--captions: expected a file, found none at "),
        (["--caption-tokenizer", "none.json"], "--caption-tokenizer: expected a file, found none at "),
        (["--augment", "flip,spin"], "--augment: expected some of flip, crop, colour, got 'spin'"),
        (["--ground", "sky"], "--ground: expected white, black, grey or a colour such as #f0f0e0, got 'sky'"),
        (["--held-out-share", "0.7"], "--held-out-share: expected a number in 0.001..0.5, got 0.7"),
        (["--vocabulary", "100"], "--vocabulary: expected a whole number in 259.."),
        (["--prefix-length", "1"], "--prefix-length: expected a whole number in 8..64, got 1"),
        (["--readers", "65"], "--readers: expected a whole number in 0..64, got 65"),
        (["--max-pixels", "0"], "--max-pixels: expected a whole number in 256.."),
        (["--max-file-bytes", "0"], "--max-file-bytes: expected a whole number in 1024.."),
        (["--smallest-side", "0"], "--smallest-side: expected a whole number in 1.."),
        (["--caption-tokenizer", "T", "--vocabulary", "999"], "--vocabulary: expected none beside --caption-token"),
        (["--focus-weight", "2"], "--focus-weight: expected none beside --images, got one"),
        (["--score-per-task", "2"], "--score-per-task: expected none beside --images, got one"),
        (["--name", "a b"], "--name: expected up to 60 letters, digits, '.', '_' and '-', got 'a b'"),
        (["drafter_1"], "drafter_1: expected an image tokenizer, found none at "),
        (["head", "--tokenizer", "T"], "head: expected a target, found none at "),
        (
            ["--tokenizer", "T", "--factor", "8"],
            "--factor: expected 4, which the image tokenizer has, or nothing",
        ),
        (["--warm-start", "W", "--dim", "128"], "--dim: expected 256, which "),
        (["--warm-start", "W", "--codes", "64"], "expected a model of the image tokenizer's 64 codes, got one of 1024"),
        (["--workers", "3"], "--workers: expected a divisor of drafter_1's 4 images a step, got 3"),
    ],
)
def test_wrong_argument_of_a_folder_is_told_in_one_line(
    arguments: list[str], told: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = {"T": SHIPPED / "tokenizer.safetensors", "W": SHIPPED / "drafter_1.safetensors"}
    given = [str(shipped.get(argument, argument)) for argument in arguments]
    assert told in refusal("--images", images, "--out", "x", *given)
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_folders_that_cannot_be_used_are_told_in_one_line(images: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "out", tmp_path / "file"
    file.write_text("mine")
    empty = tmp_path / "empty"
    empty.mkdir()
    cases: list[tuple[list[str | Path], str]] = [
        (["--images", tmp_path / "none", "--out", out], "--images: expected a folder of pictures, found nothing at "),
        (["--images", file, "--out", out], "--images: expected a folder of pictures, found a file at "),
        (["--images", images, "--out", images], "--out: expected another folder than that of the pictures, got "),
        (["--images", images, "--out", file], "--out: expected a folder, or a new one, got the file "),
        (["--images", images, "--out", file / "below"], "Not a directory"),
        (["--images", empty, "--out", out], "expected pictures ("),
    ]
    for arguments, told in cases:
        assert told in refusal(*arguments)
    assert file.read_text() == "mine"


def test_a_refused_training_leaves_nothing(tmp_path: Path) -> None:
    """Neither folders nor locks of its own; a folder of the user's stays."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "there").mkdir()
    for out in ("new", "there"):
        assert "expected pictures" in refusal("--images", tmp_path / "empty", "--out", tmp_path / out, *TINY)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["empty", "there"]


@pytest.mark.skipif(os.name != "posix", reason="folders that cannot be written into")
def test_place_that_cannot_be_written_is_told_in_one_line(images: Path) -> None:
    for place in ("/proc/none", "/sys/none"):
        assert f"error: {place}" in refusal("--images", images, "--out", place)


def test_tokenizer_that_is_none_is_told_in_one_line(tiny_transformer: Transformer, tmp_path: Path) -> None:
    transformer, html = tmp_path / "transformer.safetensors", tmp_path / "html.safetensors"
    save_weights(tiny_transformer, tiny_transformer.config, transformer)
    html.write_text("<!DOCTYPE html>\n<html></html>\n", encoding="utf-8")
    for path, told in (
        (tmp_path / "missing.safetensors", "expected a file of weights (.pt, .pth, .safetensors), found none"),
        (html, "expected weights, got a web page"),
        (transformer, "expected weights of a TokenizerConfig, got TransformerConfig"),
    ):
        error = refusal("drafter_1", *DEMO, "--out", tmp_path / "out", "--tokenizer", path)
        assert f"{path}: {told}" in error
    assert not (tmp_path / "out").exists()


def test_warm_start_that_is_no_drafter_is_told_in_one_line(tmp_path: Path) -> None:
    for name, told in (
        ("tokenizer.safetensors", "expected weights of a TransformerConfig, got TokenizerConfig"),
        ("head.safetensors", "expected weights of a TransformerConfig, got HeadConfig"),
        ("none.pt", "expected a file of weights (.pt, .pth, .safetensors), found none"),
    ):
        error = refusal("target", *DEMO, "--out", tmp_path / "out", "--warm-start", SHIPPED / name)
        assert told in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("model", ["head", "block"])
def test_target_that_is_none_is_told_in_one_line(model: str, tmp_path: Path) -> None:
    for path, told in (
        (tmp_path / "missing.safetensors", "found none"),
        (SHIPPED / "tokenizer.safetensors", "expected weights of a TransformerConfig, got TokenizerConfig"),
    ):
        assert told in refusal(model, *DEMO, "--out", tmp_path / "out", "--target", path)
    assert not (tmp_path / "out").exists()


def test_target_of_other_pictures_is_told_in_one_line(tmp_path: Path) -> None:
    drafter = SHIPPED / "drafter_1.safetensors"
    error = refusal("head", *DEMO, "--out", tmp_path / "out", "--target", drafter, "--steps", "1")
    assert "expected a target of 32 x 32 tokens, with prefixes of 12 out of 78 ids, got one of 16 x 16 tokens" in error


def test_checkpoint_of_another_job_or_none_is_told_in_one_line(tmp_path: Path) -> None:
    tiny = ("tokenizer", *DEMO, *TINY, "--out", tmp_path)
    assert command(*tiny, "--steps", "1").returncode == 0
    checkpoint = tmp_path / "tokenizer.run" / "checkpoint.pt"
    for extra, told in (
        (
            ["--steps", "1", "--seed", "1"],
            "expected seed 0, with which this run was begun, got seed 1; resume it with the same",
        ),
        (["--steps", "2"], "expected steps 1, with which this run was begun, got steps 2"),
        (["--steps", "1", "--codes", "32"], "expected codes 16, with which this run was begun, got codes 32"),
        (["--steps", "1", "--pixels", "64"], "expected pixels 32, with which this run was begun, got pixels 64"),
    ):
        assert told in refusal(*tiny, *extra)
    whole = checkpoint.read_bytes()
    for content in (b"", b"no checkpoint", whole[: len(whole) // 2]):
        checkpoint.write_bytes(content)
        assert "expected a checkpoint of this version" in refusal(*tiny, "--steps", "1")
        assert checkpoint.read_bytes() == content


def test_the_command_itself_exits_with_that_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mulo_sd.reference.train", "drafter_1", *DEMO, "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [*command, "--tokenizer", str(tmp_path / "missing")],
        cwd=Path(ROOT),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.safetensors"])
def test_a_run_that_begins_writes_over_nobodys_files(name: str, tmp_path: Path) -> None:
    """tokenizer.json is what a text tokenizer is called, too."""
    path = tmp_path / "models" / name
    path.parent.mkdir()
    path.write_text("mine")
    error = refusal("tokenizer", *DEMO, "--out", tmp_path, "--steps", "1")
    assert f"{path}: expected none before a run's first step" in error
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["card.md", "drawn.png", "steps.json", "target.run", "models/models.json", "models/captions.json"]
)
def test_a_training_that_begins_writes_over_nobodys_files(name: str, tmp_path: Path) -> None:
    """A link, too: what it leads to is somebody's as well."""
    path, mine = tmp_path / "out" / name, tmp_path / "mine"
    path.parent.mkdir(parents=True)
    mine.write_text("mine")
    path.symlink_to(mine)
    error = refusal("tokenizer", *DEMO, "--out", tmp_path / "out", "--steps", "1")
    assert f"{path}: expected none where no training has begun; move it away, or give another --out" in error
    assert (path.is_symlink(), mine.read_text()) == (True, "mine")


def test_pictures_that_were_read_stay_where_a_command_is_refused(images: Path, tmp_path: Path) -> None:
    given = ("tokenizer", "--images", images, *TINY, "--out", tmp_path / "out", "--steps", "1")
    assert command(*given).returncode == 0
    cache = tmp_path / "out" / "picture_cache"
    before = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    for extra, told in (
        (
            ["--smallest-side", "20"],
            "expected smallest_side 16, with which this run was begun, got smallest_side 20; resume it with the",
        ),
        (["--pixels", "64"], "expected pixels 32, with which this run was begun, got pixels 64"),
        (["--augment", "crop"], "expected no augment, with which this run was begun, got augment crop;"),
        (["--ground", "black"], "expected ground white, with which this run was begun, got ground black;"),
    ):
        assert told in refusal(*given, *extra)
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == before
    content = {path: path.read_bytes() for path in before}
    add_pictures(images, 1, first=90)
    told = f"expected the pictures and captions with which {tmp_path / 'out'} was begun, found others; change them back"
    assert told in refusal(*given)
    add_pictures(tmp_path / "others", 30, first=200)
    assert told in refusal("tokenizer", "--images", tmp_path / "others", *given[3:])
    assert {path: path.read_bytes() for path in cache.iterdir()} == content
    assert not (tmp_path / "out" / "picture_cache.partial").exists()
    (images / "0090.png").unlink()
    assert command(*given).returncode == 0
    target = ("drafter_1", *given[1:])
    assert command(*target).returncode == 0
    assert "prefix_length" in refusal(*target, "--prefix-length", "12")


def test_another_tokenizer_is_not_written_over(images: Path, tmp_path: Path) -> None:
    own = tmp_path / "out" / "models" / "tokenizer.safetensors"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    shipped = SHIPPED / "tokenizer.safetensors"
    error = refusal("--images", images, "--out", tmp_path / "out", "--tokenizer", shipped, "--no-bundle")
    assert f"{own}: expected the tokenizer of {shipped} or none, found another; give another --out" in error
    assert own.read_text() == "mine"


def test_what_is_not_installed_is_told_before_hours_of_training(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finish, "find_spec", lambda name: None)
    error = refusal("--images", images, "--out", tmp_path / "out")
    assert (
        'onnx is not installed, which building a bundle needs; install it with `pip install "mulo-sd[export]"`' in error
    )
    assert not (tmp_path / "out").exists()


def test_world_whose_weights_are_not_installed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_weights(name: str) -> object:
        material = material_of_world("demo")
        world = material.world
        assert isinstance(world, World)
        moved = World(world.examples, world.data, tmp_path / "none", world.score)
        return type(material)(name, world.examples, {"world": name}, world.data, world=moved)

    monkeypatch.setattr(choices, "material_of_world", without_weights)
    error = refusal("drafter_1", *DEMO, "--out", tmp_path / "out")
    assert "tokenizer.safetensors: expected a file of the world's, found none; train the model first, or inst" in error
    assert not (tmp_path / "out").exists()


def test_too_little_memory_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr("mulo_sd.reference.train.jobs.make_trainee", refuse)
    error = refusal("tokenizer", *DEMO, *TINY, "--out", tmp_path / "out", "--steps", "1")
    assert error == "error: not enough memory; give a smaller --batch, --dim, --layers or --pixels\n"


def test_what_this_machine_lacks_is_told(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mulo_sd.reference.train.choices.shutil.which", lambda name: None)
    given = ("--images", images, "--out", tmp_path / "out")
    assert "--compile: expected a C++ compiler (" in refusal(*given, "--compile")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "--device: expected cpu or auto on this machine, got cuda; torch finds no GPU" in refusal(
        *given, "--device", "cuda"
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    error = refusal(*given, "--device", "cuda", "--workers", "4")
    assert "--workers: expected at most the 2 GPUs of this machine, got 4" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name != "posix", reason="limits of a process")
@pytest.mark.parametrize("limit", [100, 6000])
def test_full_disk_is_told_in_one_line(limit: int, tmp_path: Path) -> None:
    """Here files may not be longer: the log's, then the checkpoint's; the same command goes on when they may."""
    import resource

    given = ("tokenizer", *DEMO, *TINY, "--out", tmp_path / "out", "--steps", "1")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        error = refusal(*given)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "File too large" in error or "is the disk full?" in error
    assert not list((tmp_path / "out").rglob("*partial*"))
    assert command(*given).returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="limits of a process")
def test_weights_that_cannot_be_written_are_an_error_of_the_system(
    tiny_transformer: Transformer, tmp_path: Path
) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_weights(tiny_transformer, tiny_transformer.config, tmp_path / "weights.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_sampler_is_no_tokenizer(tmp_path: Path) -> None:
    config = LatentScalerConfig(2, 16, 4, 8, 1, 1, 8)
    scaler = LatentUpSampler(config, torch.randn(16, 4))
    save_weights(scaler, config, tmp_path / "sampler.safetensors")
    error = refusal("target", *DEMO, "--out", tmp_path / "out", "--tokenizer", tmp_path / "sampler.safetensors")
    assert "expected weights of a TokenizerConfig, got LatentScalerConfig" in error
