"""The training command on a folder of pictures: what it leaves, and that it does nothing twice."""

import json
import shutil
import time
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from PIL import Image

from mulo_sd.reference.trained import load_trained
from tests.reference.train.commanded import SHORT, STEPS, TINY, command, files, refusal
from tests.reference.train.folder.made import add_pictures

MODELS = ("tokenizer", "drafter_1", "target")


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of captioned pictures."""
    folder = tmp_path_factory.mktemp("pictures") / "my pictures"
    add_pictures(folder, 20)
    return folder


@pytest.fixture(scope="module")
def whole(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a whole training leaves; tests change nothing in it for good."""
    out = tmp_path_factory.mktemp("whole") / "out"
    done = command("--images", images, "--out", out, *TINY, *SHORT, "--no-bundle")
    assert done.returncode == 0, done.stderr
    assert "fewer than 1000 pictures: transformers learn them by heart" in done.stdout
    return out


def state(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return contents and times of files, locks and the reader's aside."""
    paths = (path for path in folder.rglob("*") if path.is_file() and "lock" not in path.name)
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def test_a_whole_training_leaves_models_cards_curves_and_samples(whole: Path, images: Path) -> None:
    trained = load_trained(whole / "models")
    assert trained.name == "my-pictures"
    assert [model.config.grid_height for model in (trained.models.target, *trained.models.drafters)] == [8, 4]
    assert trained.examples[0].startswith("picture number ")
    assert json.loads((whole / "steps.json").read_text()) == {
        "minutes": 0.01,
        "steps": dict.fromkeys(MODELS, STEPS),
    }
    page = (whole / "card.md").read_text()
    for name in MODELS:
        run, card = whole / f"{name}.run", json.loads((whole / "models" / f"{name}.json").read_text())
        for picture in ("curves.png", "samples.png"):
            with Image.open(run / picture) as shown:
                assert min(shown.size) > 30
        assert len((run / "log.jsonl").read_text().splitlines()) == 1
        assert (card["steps"], card["seed"], card["parameters"] > 100) == (STEPS, 0, True)
        assert card["data"] == "12 pictures of the folder my pictures; 8 more held out"
        assert f"| {name} | " in page
        if name != "tokenizer":
            assert card["held_out_loss"] > 0
            assert card["kept"] == "last"
            assert card["final"]["held_out"] > 0
    assert "- pictures: 20 found, 20 used; left out: none" in page
    assert "dB at 32px" in page
    assert "know these pictures by heart" in page
    with Image.open(whole / "drawn.png") as sheet:  # eight captions; of each the set's picture and the models' one
        assert sheet.size == (8 * 128, 2 * (18 + 128))
    start = json.loads((whole / "models" / "target.json").read_text())["warm_start"]
    assert start == "drafter_1.safetensors"


def test_a_sheet_that_is_missing_is_drawn_again(whole: Path, images: Path) -> None:
    """What is drawn is told in a line; the same weights draw the same sheet."""
    before = (whole / "drawn.png").read_bytes()
    (whole / "drawn.png").unlink()
    done = command("--images", images, "--out", whole, *TINY, *SHORT, "--no-bundle")
    assert "drawing 8 captions with the new models" in done.stdout
    assert f"wrote {whole / 'drawn.png'}: pictures of the set, and below each what the models draw" in done.stdout
    assert (whole / "drawn.png").read_bytes() == before


def test_the_same_command_again_does_nothing_and_says_so(whole: Path, images: Path) -> None:
    before = state(whole)
    time.sleep(0.01)
    done = command("--images", images, "--out", whole, *TINY, *SHORT, "--no-bundle")
    assert done.returncode == 0
    assert state(whole) == before
    for name in MODELS:
        assert f"{name}: trained already, {STEPS} steps; " in done.stdout
    assert "wrote" not in done.stdout


def test_by_name_the_models_are_the_same(whole: Path, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in MODELS:
        done = command(name, "--images", images, "--out", out, *TINY, "--steps", str(STEPS))
        assert done.returncode == 0, done.stderr
        assert not (out / "models" / "models.json").exists()
    names = {f"{name}.safetensors" for name in MODELS}
    ours = {path: content for path, content in files(out / "models").items() if path in names}
    assert ours == {path: content for path, content in files(whole / "models").items() if path in names}


def test_the_best_weights_are_kept_on_request(whole: Path, images: Path, tmp_path: Path) -> None:
    """Another job than that of the last weights, which no checkpoint of one goes on with."""
    (tmp_path / "models").mkdir()
    shutil.copy(whole / "models" / "tokenizer.safetensors", tmp_path / "models")
    own = ("drafter_1", "--images", images, "--out", tmp_path, *TINY, "--steps", str(STEPS))
    done = command(*own, "--keep", "best")
    assert done.returncode == 0, done.stderr
    assert "by heart" not in done.stdout
    assert json.loads((tmp_path / "models" / "drafter_1.json").read_text())["kept"] == "best"
    assert "keep" in refusal(*own)


def test_a_lost_card_or_weights_are_written_again_and_changed_ones_told(whole: Path, images: Path) -> None:
    again = ("--images", images, "--out", whole, *TINY, *SHORT, "--no-bundle")
    weights, card = whole / "models" / "drafter_1.safetensors", whole / "models" / "drafter_1.json"
    content, facts = weights.read_bytes(), card.read_bytes()
    weights.unlink()
    assert command(*again).returncode == 0
    assert weights.read_bytes() == content
    card.unlink()
    assert command(*again).returncode == 0
    assert json.loads(card.read_bytes()) == json.loads(facts)
    weights.write_bytes(content + b"x")
    assert "expected the weights that its card drafter_1.json tells of, found others; move both" in refusal(*again)
    card.unlink()
    assert "expected none, or the weights of this run, found others; move them away" in refusal(*again)
    assert weights.read_bytes() == content + b"x"
    weights.write_bytes(content)
    for broken in (b"", b"[]", b"{", b"\xff"):
        card.write_bytes(broken)
        assert f"{card}: expected" in refusal(*again)
        assert card.read_bytes() == broken
    card.write_bytes(facts)
    assert command(*again).returncode == 0


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"steps": {"tokenizer": "many"}}', b'{"steps": {"target": 0}}']
)
def test_broken_steps_are_told(content: bytes, whole: Path, images: Path) -> None:
    steps = whole / "steps.json"
    kept = steps.read_bytes()
    try:
        steps.write_bytes(content)
        error = refusal("--images", images, "--out", whole, *TINY, *SHORT, "--no-bundle")
        assert f"{steps}: expected minutes, and steps by model, got something else; move it away" in error
    finally:
        steps.write_bytes(kept)


def test_other_minutes_are_told(whole: Path, images: Path) -> None:
    error = refusal("--images", images, "--out", whole, *TINY, "--minutes", "5", "--no-bundle")
    assert (
        "--minutes: expected 0.01, with which this --out was begun, got 5; give that again, or another --out" in error
    )


def test_a_second_process_is_refused(whole: Path, images: Path) -> None:
    with FileLock(whole / ".lock"):
        error = refusal("--images", images, "--out", whole, *TINY, *SHORT, "--no-bundle")
    assert error.startswith(f"error: {whole}: expected no other process that trains here, found one; wait for it, or ")


def test_samplers_head_and_block_join_the_models(whole: Path, images: Path) -> None:
    """Each by its name, and the description of the folder then tells of them."""
    shared = ("--images", images, "--out", whole, *TINY, "--steps", "1")
    for name in ("up_sampler_2", "down_sampler_2", "head", "block"):
        done = command(name, *shared)
        assert done.returncode == 0, done.stderr
        assert "cache: 20 pictures of 32 x 32 pixels are there already" in done.stdout
        assert f"wrote {whole / 'models' / 'models.json'}" in done.stdout
    models = load_trained(whole / "models").models
    assert models.head is not None
    assert models.block is not None
    assert models.latent_up_samplers.keys() == models.latent_down_samplers.keys() == {2}
    assert "| head | " in (whole / "card.md").read_text()
    for name in ("up_sampler_2", "down_sampler_2", "head", "block"):
        for path in (whole / "models").glob(f"{name}.*"):
            path.unlink()
        (whole / f"{name}.run").rename(whole / f"{name}.gone")


def test_samplers_need_no_captions(tmp_path: Path) -> None:
    add_pictures(tmp_path / "images", 20, captions=False)
    shared = ("--images", tmp_path / "images", "--out", tmp_path / "out", *TINY, "--steps", "1")
    assert command("tokenizer", *shared).returncode == 0
    done = command("up_sampler_2", *shared, "--sampler-loss", "token", "--rows-above", "1")
    assert done.returncode == 0, done.stderr
    card = json.loads((tmp_path / "out" / "models" / "up_sampler_2.json").read_text())
    assert (card["loss"], card["config"]["rows_above"]) == ("token", 1)
    assert "expected captions of its 20 pictures, found none" in refusal("drafter_1", *shared)


def test_a_token_may_have_eight_pixels_a_side(images: Path, tmp_path: Path) -> None:
    """Drafters take it from the tokenizer that is there."""
    other = tuple("64" if value == "32" else value for value in TINY)
    shared: list[str | Path] = ["--images", images, "--out", tmp_path, *other, "--steps", "1"]
    assert command("tokenizer", *shared, "--factor", "8").returncode == 0
    done = command("drafter_1", *shared)
    assert done.returncode == 0, done.stderr
    card = json.loads((tmp_path / "models" / "drafter_1.json").read_text())
    assert card["config"]["grid_height"] == 4
    assert "--factor: expected 8, which the image tokenizer has, or nothing, got 4" in refusal(
        "drafter_1", *shared, "--factor", "4"
    )


def test_worlds_take_the_defaults_of_the_shipped_models(tmp_path: Path) -> None:
    """The shipped tokenizer serves where none was trained, and the evaluator scores on the world's own grids alone."""
    tiny = ("--layers", "1", "--heads", "2", "--dim", "16", "--threads", "1")
    done = command("drafter_2", "--world", "demo", "--out", tmp_path, *tiny, "--steps", "1", "--score-per-task", "1")
    assert done.returncode == 0, done.stderr
    card = json.loads((tmp_path / "models" / "drafter_2.json").read_text())
    assert (card["batch"], card["matrix_rate"], card["focus_weight"], card["rescaled_share"]) == (64, 0.01, 5.0, 0.5)
    assert (card["config"]["grid_height"], card["config"]["vocabulary"]) == (8, 1024)
    assert card["scores"].keys() >= {"single_object", "overall"}
    job = torch.load(tmp_path / "drafter_2.run" / "checkpoint.pt", weights_only=True)["job"]
    assert job["patience"] == 0
    assert card["final"].keys() >= {"focus_accuracy", "accuracy"}
    assert not (tmp_path / "models" / "tokenizer.safetensors").exists()
    assert not (tmp_path / "models" / "models.json").exists()
