"""Opening a bundle: whatever is wrong with it is told in one line that names the file."""

import dataclasses
import hashlib
import io
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mulo_sd.engines.bundle import BundleError, open_bundle
from mulo_sd.engines.bundle.manifest import MAX_MANIFEST_BYTES
from mulo_sd.reference.train.place import Place

FILES = ("onnx/target.onnx", "plans/trt-rtx/decoder.plan", "neighbours.npy", "codes.npy", "prompt_grammar.json")
each_file = pytest.mark.parametrize("file", FILES)


@pytest.fixture
def copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A bundle to break."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def refusal(folder: Path) -> str:
    """Return the one line with which a bundle is refused."""
    with pytest.raises(BundleError) as caught:
        open_bundle(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def change_manifest(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def replace_array(folder: Path, name: str, content: bytes) -> None:
    """Replace an array's file and enter it in the manifest, as a wrong build would."""
    (folder / f"{name}.npy").write_bytes(content)
    entry = {"path": f"{name}.npy", "sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    change_manifest(folder, lambda manifest: manifest.update({name: entry}))


def npy(table: Any, allow_pickle: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, table, allow_pickle=allow_pickle)
    return file.getvalue()


def test_whole_bundle(copy: Path) -> None:
    bundle = open_bundle(copy)
    assert bundle.neighbours.shape == (12, 3)
    assert bundle.codes.shape == (12, 4)
    assert len(bundle.manifest.files()) == 3 + 2 * 9
    assert all(bundle.file(entry).is_file() for entry in bundle.manifest.files())
    assert open_bundle(str(copy)).manifest == bundle.manifest


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "mulo-sd minimal-large"}, ["--models", "minimal-large", "--backend", "trt"]),
        ({"name": "mulo-sd demo; rm"}, ["--backend", "trt"]),
        ({"name": "mulo-sd tar", "family": "tar"}, ["--family", "tar", "--backend", "trt"]),
    ],
)
def test_the_command_that_builds_it_again(copy: Path, changes: dict[str, str], words: list[str]) -> None:
    """Models that the build knows are named, others need their checkpoints; the path is one word to a shell."""
    bundle = open_bundle(copy)
    folder = copy.parent / "it's here"
    other = dataclasses.replace(bundle, manifest=bundle.manifest.model_copy(update=changes), path=folder)
    command = ["mulo-sd", "build", *words, "--force", "--precision", "fp32", "--out", str(folder)]
    assert shlex.split(other.rebuild_command("--backend", "trt")) == command
    line = other.rebuild("--backend", "trt")
    assert line.startswith("build it again with `mulo-sd build ")
    assert line.endswith(" and the checkpoints that it was built from") == ("family" in changes)


@pytest.mark.parametrize(
    ("name", "models", "beside"),
    [
        ("mulo-sd pictograms", ["--models", "pictograms"], "`"),
        ("mine", [], " and, after --trained, the folder of models that it was built from"),
    ],
)
def test_what_builds_trained_models_again(copy: Path, name: str, models: list[str], beside: str) -> None:
    """Those of ours by their name; others need their folder."""
    bundle = open_bundle(copy)
    manifest = bundle.manifest.model_copy(update={"name": name, "family": "captioned"})
    other = dataclasses.replace(bundle, manifest=manifest)
    assert shlex.split(other.rebuild_command())[2:-5] == models
    assert other.rebuild().endswith(beside)


# Files


@each_file
def test_changed_byte(copy: Path, file: str) -> None:
    content = bytearray((copy / file).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / file).write_bytes(content)
    message = refusal(copy)
    assert str(copy / file) in message
    assert "expected sha256" in message


@each_file
def test_missing_file(copy: Path, file: str) -> None:
    (copy / file).unlink()
    assert refusal(copy).startswith(f"{copy / file}: the file is missing")


@each_file
def test_folder_in_place_of_a_file(copy: Path, file: str) -> None:
    (copy / file).unlink()
    (copy / file).mkdir()
    assert refusal(copy).startswith(f"{copy / file}: the file is missing")


@each_file
@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content + b"\0", lambda _: b""])
def test_other_size(copy: Path, file: str, change: Callable[[bytes], bytes]) -> None:
    """Truncated, longer, or empty."""
    content = (copy / file).read_bytes()
    changed = change(content)
    (copy / file).write_bytes(changed)
    assert refusal(copy).startswith(f"{copy / file}: expected {len(content)} bytes, got {len(changed)}")


# The manifest


def test_no_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere").startswith(f"{tmp_path / 'nowhere'}: expected a bundle's folder")


def test_no_manifest(copy: Path) -> None:
    (copy / "manifest.json").unlink()
    assert refusal(copy).startswith(f"{copy / 'manifest.json'}: the manifest is missing")


def test_the_out_folder_of_a_training_leads_to_its_bundle(copy: Path, tmp_path: Path) -> None:
    training = tmp_path / "training"
    training.mkdir()
    copy.rename(Place(training).bundle)
    assert refusal(training).endswith(f"the manifest is missing; give the bundle's folder in it, {training / 'bundle'}")


def test_file_in_place_of_the_folder(copy: Path) -> None:
    file = copy / "neighbours.npy"
    assert refusal(file).startswith(f"{file}: expected a bundle's folder, found something else; build a bundle")


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"garbage", b"\xff\xfe\x00", b"\x80abc", b"[" * 100_000, b'{"a": ' * 100_000, b"1" * 5000],
    ids=["empty", "cut", "garbage", "utf-16", "not utf-8", "deep list", "deep object", "long number"],
)
def test_garbage(copy: Path, content: bytes) -> None:
    (copy / "manifest.json").write_bytes(content)
    assert refusal(copy).startswith(f"{copy / 'manifest.json'}: expected JSON")


@pytest.mark.parametrize("content", ["[]", "null", "3", '"text"', "{}", '{"schema_version": null}'])
def test_json_that_is_no_manifest(copy: Path, content: str) -> None:
    (copy / "manifest.json").write_text(content)
    assert refusal(copy).startswith(f"{copy / 'manifest.json'}: expected schema version 4, got None")


@pytest.mark.parametrize("version", [1, 2, 3, 5, 0, "2", [2]])
def test_other_schema_version(copy: Path, version: object) -> None:
    """Said before anything else, since the rest may be anything."""
    (copy / "manifest.json").write_text(json.dumps({"schema_version": version, "new": "field"}))
    message = refusal(copy)
    assert message.startswith(f"{copy / 'manifest.json'}: expected schema version 4, got {version!r}")
    assert "update mulo-sd" in message


def test_oversized_manifest(copy: Path) -> None:
    """It is refused by its size, before it is read."""
    with (copy / "manifest.json").open("ab") as file:
        file.truncate(MAX_MANIFEST_BYTES + 1)
    assert refusal(copy).endswith(f"expected at most {MAX_MANIFEST_BYTES} bytes, got {MAX_MANIFEST_BYTES + 1}")


@pytest.mark.parametrize(
    "path",
    ["../x", "onnx/../../x", "/etc/hostname", "..", ".", "", "..\\x", "C:/x", "C:\\x", "\\\\host\\x", "onnx/.."],
)
@pytest.mark.parametrize("field", ["neighbours", "codes", "prompt_grammar", "onnx", "plan"])
def test_paths_stay_inside(copy: Path, field: str, path: str) -> None:
    """A manifest cannot make a reader open a file outside the bundle, even one that is there and has the right hash."""

    def change(manifest: dict[str, Any]) -> None:
        graph = manifest["graphs"]["target"]
        entries = {"onnx": graph["onnx"], "plan": graph["plans"][0]["file"]}
        (entries | manifest)[field]["path"] = path

    shutil.copy(copy / "neighbours.npy", copy.parent / "x")
    change_manifest(copy, change)
    message = refusal(copy)
    assert message.startswith(f"{copy / 'manifest.json'}: ")
    assert ".path: expected a path inside the bundle" in message


SIZE = ("graph", "grid_height", "grid_width", "vocabulary", "prefix_length", "layers", "heads", "head_dim", "dim")


def beside(place: str, graph: str, **changes: object) -> Callable[[dict[str, Any]], object]:
    """Return a change that puts one more transformer beside the models, made like the target."""

    def change(manifest: dict[str, Any]) -> None:
        target = manifest["models"][0]
        entry = {"slots": 80} if place != "block" else {"vocabulary": target["vocabulary"] + 1}
        entry = target | entry | {"graph": graph} | changes
        if place == "head":
            entry = {name: entry[name] for name in (*SIZE, "slots", "weights_sha256")}
        manifest[place] = entry

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            beside("branched", "mine"),
            "branched: expected graph, rows, columns, prefix and codes target_branched, 2, 4",
        ),
        (beside("branched", "target_branched", grid_width=2), "2, 4, 2, 12, got target_branched, 2, 2, 2, 12; "),
        (beside("branched", "target_branched", dim=4), "branched: expected hidden states of width 8, got 4; "),
        (beside("branched", "target_branched", slots=71), "branched: expected 72 slots or more, got 71; "),
        (beside("branched", "target_branched"), "graphs: missing target_branched; "),
        (beside("branched", "target_branched", condition_width=2), "target_branched: expected a condition of the targ"),
        (beside("head", "head"), "branched: expected the target's hidden states beside a head, got none; "),
        (
            beside("head", "head", prefix_length=1),
            "head: expected graph, rows, columns, prefix and codes head, 2, 4, ",
        ),
        (
            beside("block", "block", vocabulary=12),
            "prefix and codes block, 2, 4, 2, 13, got block, 2, 4, 2, 12",
        ),
        (beside("block", "block", condition_graph="none"), "graphs: missing block, none; "),
        (lambda manifest: manifest.pop("models"), "models: "),
        (lambda manifest: manifest.update(models=[]), "models: "),
        (lambda manifest: manifest.update(models=9 * manifest["models"][:1] + manifest["models"]), "models: "),
        (lambda manifest: manifest.update(more=1), "more: "),
        (lambda manifest: manifest["models"][1].update(grid_width=3), "models.1: expected a grid of which 2 x 4 is"),
        (lambda manifest: manifest["models"][1].update(grid_height=3), "a whole multiple, got 3 x 2"),
        (lambda manifest: manifest["models"].reverse(), "models.1: expected a grid of which 1 x 2 is a whole"),
        (
            lambda manifest: manifest["settings"].update(drafters=[2]),
            "settings.drafters: expected models in 1..1, got 2",
        ),
        (lambda manifest: manifest["settings"].update(drafters=[2, 1]), "settings.drafters: "),
        (lambda manifest: manifest["settings"].update(sweep_width="wide"), "settings.sweep_width: "),
        (lambda manifest: manifest["settings"].update(up_sampler="latent"), "graphs: missing up_sampler_2_latent"),
        (
            lambda manifest: manifest["settings"].update(down_sampler="bicubic"),
            "graphs: missing down_sampler_2_bicubic",
        ),
        (lambda manifest: manifest.update(presets={"a": {"tau": "never"}}), "presets.a.tau: tau: expected a number"),
        (lambda manifest: manifest.update(presets={"a b": {}}), "presets.a b"),
        (lambda manifest: manifest.update(presets={str(n): {} for n in range(65)}), "presets"),
        (lambda manifest: manifest.update(presets={"a": {"drafters": [2]}}), "presets.a.drafters: expected models in "),
        (lambda manifest: manifest.update(presets={"a": {"up_sampler": "latent"}}), "graphs: missing up_sampler_2_lat"),
        (lambda manifest: manifest["graphs"].pop("up_sampler_2_bicubic"), "graphs: missing up_sampler_2_bicubic"),
        (lambda manifest: manifest["graphs"].pop("drafter_1_condition"), "graphs: missing drafter_1_condition"),
        (lambda manifest: manifest["models"][0].update(slots=0), "models.0.slots: "),
        (lambda manifest: manifest["models"][0].update(heads="four"), "models.0.heads: "),
        (
            lambda manifest: manifest["models"][0].update(slots=14),
            "graphs.target.dynamic.slots: expected at most 14, got 13",
        ),
        (lambda manifest: manifest["models"][1].update(layers=2), "graphs.drafter_1: expected 4 keys and values of "),
        (lambda manifest: manifest["graphs"]["target"]["inputs"].pop(), "got key_0 ['batch', 2, 'slots', 4]; "),
        (lambda manifest: manifest.update({"two\nlines": 1}), "two lines: "),
        (lambda manifest: manifest.update(name="two\nlines"), "name: "),
        (lambda manifest: manifest.update(created="\x1b[2J"), "created: "),
        (lambda manifest: manifest["tools"].update(torch="two\nlines"), "tools.torch: "),
        (lambda manifest: manifest["neighbours"].update(sha256="0"), "neighbours.sha256: "),
        (lambda manifest: manifest["neighbours"].update(size_bytes=-1), "neighbours.size_bytes: "),
        (lambda manifest: manifest["settings"].update(tau="never"), "settings.tau: "),
        (lambda manifest: manifest["graphs"].update(target=[]), "graphs.target: "),
        (lambda manifest: manifest["graphs"]["target"]["inputs"][0].update(dtype="int4"), "inputs.0.dtype: "),
        (lambda manifest: manifest["graphs"].pop("acceptance"), "graphs: missing acceptance"),
        (lambda manifest: manifest["models"][1].update(condition_graph="none"), "graphs: missing none"),
    ],
)
def test_wrong_manifest(copy: Path, change: Callable[[dict[str, Any]], object], said: str) -> None:
    """The message names the manifest and the place in it."""
    change_manifest(copy, change)
    message = refusal(copy)
    assert message.startswith(f"{copy / 'manifest.json'}: ")
    assert said in message


# The neighbours' table

RIGHT = np.tile(np.arange(12)[:, None], 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (npy(RIGHT[:, :2]), r"expected int64 (12, 3), got int64 (12, 2)"),
        (npy(RIGHT[:11]), r"expected int64 (12, 3), got int64 (11, 3)"),
        (npy(RIGHT.ravel()), r"got int64 (36,)"),
        (npy(RIGHT.astype(np.int32)), r"got int32 (12, 3)"),
        (npy(RIGHT.astype(np.float64)), r"got float64 (12, 3)"),
        (npy(RIGHT + 1), r"expected codes in 0..11"),
        (npy(RIGHT - 1), r"expected codes in 0..11"),
        (npy(RIGHT)[:-8], r"expected a numpy array"),
        (npy(RIGHT.astype(object), allow_pickle=True), r"expected a numpy array"),
        (b"", r"expected a numpy array"),
        (b"garbage", r"expected a numpy array"),
    ],
)
def test_wrong_neighbours(copy: Path, content: bytes, said: str) -> None:
    """A table that is not what the manifest says, though its hash is; a pickle is not loaded."""
    replace_array(copy, "neighbours", content)
    message = refusal(copy)
    assert message.startswith(f"{copy / 'neighbours.npy'}: ")
    assert said in message


CODES = np.ones((12, 4), dtype=np.float32)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (npy(CODES[:, :3]), r"expected float32 (12, 4), got float32 (12, 3)"),
        (npy(CODES.astype(np.float64)), r"expected float32 (12, 4), got float64 (12, 4)"),
        (npy(CODES * np.float32("nan")), r"expected finite numbers"),
        (b"garbage", r"expected a numpy array"),
    ],
)
def test_wrong_codes(copy: Path, content: bytes, said: str) -> None:
    """The codebook's vectors, likewise."""
    replace_array(copy, "codes", content)
    message = refusal(copy)
    assert message.startswith(f"{copy / 'codes.npy'}: ")
    assert said in message
