"""Vectors are right for another implementation, and find one that is wrong."""

import json
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mulo_sd import engines
from mulo_sd.conformance.subject import Subject
from mulo_sd.conformance.vectors import __main__ as command
from mulo_sd.conformance.vectors.folder import MANIFEST_NAME, Case, VectorsError, read_arrays, read_cases
from mulo_sd.engines.bundle.contract import down_sampler_graph, up_sampler_graph
from mulo_sd.engines.passes.transformer import TransformerSession
from mulo_sd.engines.rules import noise
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.grid import expand, islands
from mulo_sd.engines.rules.radius import adaptive_radii
from mulo_sd.engines.rules.schedule import Schedule

Inputs = dict[str, NDArray[Any]]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, minimal_subject: Subject) -> Path:
    """All vectors, written by the command."""
    path = tmp_path_factory.mktemp("vectors") / "all"
    assert run("write", "--out", str(path)) == 0
    return path


def run(*arguments: str) -> int:
    """Run the command in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["vectors", *arguments])
        return command.main()


def answer_noise(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the engines' own noise."""
    given = (int(inputs["seed"]), int(inputs["stream"]), inputs["positions"], int(inputs["count"]))
    uniform = noise.uniform_noise(*given, attempt=int(inputs["attempt"]))
    gumbel = noise.gumbel_noise(*given, attempt=int(inputs["attempt"]))
    return {"words": np.round(uniform * 2.0**32 - 0.5).astype(np.uint32), "gumbel": gumbel}


def answer_distribution(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the exported sampler, which knows the preset's number of codes only."""
    missing = 48 - inputs["cond_logits"].shape[1]
    wide = {
        name: np.pad(inputs[name], ((0, 0), (0, missing)), constant_values=-1e4 if "logits" in name else 0)
        for name in ("cond_logits", "uncond_logits", "noise")
    }
    settings = {
        name: inputs[name].astype(np.int64 if name == "top_k" else np.float32)
        for name in ("guidance_scale", "temperature", "top_k", "top_p")
    }
    backend = subject.pipeline.backend
    outputs = backend.run("sampler", wide | settings)
    near = np.zeros((48, 4), dtype=np.int64)
    judged = {name: value for name, value in wide.items() if name != "noise"} | settings
    draft = np.zeros(len(wide["noise"]), dtype=np.int64)
    entropies = backend.run("acceptance", judged | {"draft_tokens": draft, "neighbours": near})["entropies"]
    log_probs = outputs["log_probs"][:, : inputs["cond_logits"].shape[1]]
    return {"log_probs": log_probs, "tokens": outputs["tokens"], "entropies": entropies}


def answer_pooling(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer in plain numpy."""
    codes = inputs["codes"].astype(np.float64)
    distances = ((codes[:, None] - codes[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, -1)
    near = np.argsort(distances, axis=1, kind="stable")[:, : int(inputs["count"])]
    pooled = np.take_along_axis(inputs["probs"], near[inputs["draft_tokens"]], axis=1).sum(axis=1)
    return {"neighbours": near, "pooled": pooled, "kept": (pooled >= inputs["tau"]) & (inputs["tau"] <= 1)}


def answer_expansion(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the engines' grid and radius."""
    first, last = int(inputs["first_row"]), int(inputs["last_row"])
    radii = np.zeros(inputs["rejected"].shape, dtype=np.int64)
    radii[first:last] = adaptive_radii(inputs["entropies"], int(inputs["radius"]), float(inputs["radius_nats"]))
    return {"radii": radii[first:last], "resampled": expand(inputs["rejected"], radii, first, last)}


def answer_schedule(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the engines' schedule."""
    cells, window = inputs["cells"], int(inputs["window"])
    schedule = Schedule(cells, None if window < 0 else window, bool(inputs["by_island"]))
    step_of, island_of = np.full(cells.shape, -1), np.full(cells.shape, -1)
    step = 0
    while ready := schedule.ready():
        step_of.ravel()[ready] = step
        schedule.decide(ready)
        step += 1
    for number, island in enumerate(islands(cells)):
        island_of.ravel()[island] = number
    return {"step_of": step_of, "island_of": island_of}


def answer_anchor(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the engines' anchor."""
    anchor = Anchor(float(inputs["strength"]), inputs["codes"].astype(np.float32), inputs["draft_tokens"], 0)
    return {"bonus": anchor.bonus(range(len(inputs["draft_tokens"])))}


def answer_passes(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the exported transformers, fed pass by pass."""
    entry = subject.pipeline.bundle.manifest.models[int(inputs["model"])]
    session = TransformerSession(subject.pipeline.backend, entry, inputs["prefix_ids"])
    logits = [session.prefill().logits()]
    ends = np.cumsum(inputs["lengths"])
    for start, end in pairwise(ends.tolist()):
        cells = inputs["positions"][start:end] - entry.prefix_length
        logits.append(session.feed(cells, inputs["tokens"][start:end]).logits())
    return {"logits": np.concatenate(logits, axis=1)}


def answer_rescaling(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the exported samplers."""
    backend, ratio = subject.pipeline.backend, int(inputs["scale_ratio"])
    up = backend.run(up_sampler_graph(ratio, "bicubic"), {"low_tokens": inputs["low_tokens"]})["high_tokens"]
    down = backend.run(down_sampler_graph(ratio, "area"), {"high_tokens": inputs["high_tokens"]})["low_tokens"]
    return {"up_sampled": up, "down_sampled": down}


def answer_decode(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the engines' loop."""
    pipeline, settings = subject.pipeline, json.loads(inputs["settings"].tobytes())
    decoded = pipeline.decode(
        engines.Condition(*inputs["prefix_ids"]), pipeline.settings(**settings), int(inputs["seed"])
    )
    cycles, shape = decoded.trace.cycles_of(0), decoded.tokens.shape
    numbers = range(len(pipeline.bundle.manifest.models))
    return {
        "tokens": decoded.tokens,
        "nfe": np.array([decoded.trace.nfe(number) for number in numbers]),
        "kept": np.concatenate([cycle.kept for cycle in cycles]) if cycles else np.ones(shape, dtype=np.bool_),
        "resampled": np.concatenate([cycle.resampled for cycle in cycles]) if cycles else np.zeros(shape, np.bool_),
    }


def answer_image(inputs: Inputs, subject: Subject) -> Inputs:
    """Answer with the exported decoder."""
    return {"image": subject.pipeline.backend.run("decoder", {"tokens": inputs["tokens"]})["image"]}


ANSWERS: dict[str, Callable[[Inputs, Subject], Inputs]] = {
    "noise": answer_noise,
    "distribution": answer_distribution,
    "pooling": answer_pooling,
    "expansion": answer_expansion,
    "schedule": answer_schedule,
    "anchor": answer_anchor,
    "passes": answer_passes,
    "rescaling": answer_rescaling,
    "decode": answer_decode,
    "image": answer_image,
}


@pytest.fixture(scope="session")
def answers(folder: Path, minimal_subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the engines answer to every case."""
    path = tmp_path_factory.mktemp("answers")
    for case in read_cases(folder):
        write(path, case, ANSWERS[case.stage](read_arrays(case.inputs), minimal_subject))
    return path


def write(path: Path, case: Case, arrays: Inputs) -> None:
    """Write one case's answers."""
    file = path / f"{case.name}.npz"
    file.parent.mkdir(exist_ok=True)
    np.savez(file, **arrays)  # type: ignore[arg-type]  # no array is named like an option of savez


def test_engines_answer_every_case(folder: Path, answers: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The engines share no line with the reference that wrote the answers, and are right in every stage."""
    assert set(ANSWERS) == {case.stage for case in read_cases(folder)}
    assert run("check", "--vectors", str(folder), "--answers", str(answers)) == 0, capsys.readouterr().out


@pytest.mark.parametrize("stage", ANSWERS)
def test_wrong_answers_are_found(
    stage: str, folder: Path, answers: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One value that is off in one case ends the check with 1, and its place is told."""
    chosen = [case for case in read_cases(folder) if case.stage == stage]
    for case in chosen:
        write(tmp_path, Case(**(vars(case) | {"name": case.name.replace("/", "-")})), {})  # a stranger's other files
        arrays = read_arrays(answers / f"{case.name}.npz")
        if case is chosen[1]:
            name = next(iter(case.outputs))
            value = arrays[name].copy()
            place = tuple(size - 1 for size in value.shape)
            value[place] = ~value[place] if value.dtype == np.bool_ else value[place] + 1 + (value[place] == -np.inf)
            arrays[name] = np.where(np.isinf(value), 0.0, value) if value.dtype.kind == "f" else value
        write(tmp_path, case, arrays)
    status = run("check", "--vectors", str(folder), "--answers", str(tmp_path), "--stages", stage)
    told = capsys.readouterr().out
    assert status == 1
    assert f"{chosen[1].name}: {next(iter(chosen[1].outputs))}: " in told
    assert f"{len(chosen) - 1} of {len(chosen)} cases right" in told


def test_missing_and_misshapen_answers_are_told(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A case without a file, without an array, of another shape or of objects is wrong, each in one line."""
    first, second, third, *_ = [case for case in read_cases(folder) if case.stage == "anchor"]
    write(tmp_path, first, {"bonus": np.zeros((2, 2))})
    write(tmp_path, second, {"other": np.zeros(3)})
    write(tmp_path, third, {"bonus": np.array([{}], dtype=object)})
    assert run("check", "--vectors", str(folder), "--answers", str(tmp_path), "--stages", "anchor") == 1
    told = capsys.readouterr().out
    for expected in ("expected the shape [10, 40], got [2, 2]", "bonus: expected an array, got none", "found none"):
        assert expected in told
    assert "npz file of plain arrays" in told
    assert "0 of 4 cases right" in told


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda told: told | {"format_version": 99}, "expected format version 1, got 99"),
        (
            lambda told: told | {"cases": [told["cases"][0] | {"answers": "../../etc/passwd"}]},
            "paths inside the folder",
        ),
        (lambda told: {"format_version": 1}, "expected a manifest of vectors"),
        (lambda told: told | {"cases": [told["cases"][0] | {"stage": "nonsense"}]}, "expected a manifest of vectors"),
        (lambda told: told | {"cases": [told["cases"][0] | {"answers_sha256": "0"}]}, "not the file of the manifest"),
        (lambda told: told | {"cases": []}, "expected cases, got none"),
        (lambda told: [], "expected a manifest of vectors"),
    ],
)
def test_broken_folders_are_refused(
    change: Callable[[Any], Any], expected: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A manifest that is none, leaves its folder or names other files ends the command with one line."""
    told = json.loads((folder / MANIFEST_NAME).read_text())
    (tmp_path / "inputs").symlink_to(folder / "inputs")
    (tmp_path / "answers").symlink_to(folder / "answers")
    (tmp_path / MANIFEST_NAME).write_text(json.dumps(change(told)))
    assert run("check", "--vectors", str(tmp_path), "--answers", str(folder / "answers")) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert len(error.splitlines()) == 1


def test_an_existing_folder_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command writes into new folders only."""
    (tmp_path / "mine.txt").write_text("mine")
    assert run("write", "--functions-only", "--out", str(tmp_path)) == 2
    assert "expected a new folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_same_vectors_every_time(folder: Path, tmp_path: Path) -> None:
    """Inputs and answers are the same in every run."""
    assert run("write", "--functions-only", "--out", str(tmp_path / "again")) == 0
    again = {case.name: case.answers_sha256 for case in read_cases(tmp_path / "again")}
    assert again.items() <= {case.name: case.answers_sha256 for case in read_cases(folder)}.items()


def test_large_arrays_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an archive says of its size is looked at before it is unpacked."""
    np.savez_compressed(tmp_path / "large.npz", zeros=np.zeros(2**16))
    monkeypatch.setattr("mulo_sd.conformance.vectors.folder.MAX_ARRAY_BYTES", 2**10)
    with pytest.raises(VectorsError, match="expected arrays of at most 1024 bytes"):
        read_arrays(tmp_path / "large.npz")
