"""Seeds, batches, prompts and tokens of callers: what is beyond doubt is taken, else one line says what is wrong."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mulo_sd import engines
from mulo_sd.engines.prompts import PromptError
from mulo_sd.engines.service.pipeline import Pipeline
from mulo_sd.engines.settings import SettingsError

PROMPT = "a red star"


@pytest.fixture(scope="module")
def pipeline(minimal_bundle: Path) -> Pipeline:
    return engines.load(minimal_bundle, threads=1)


SEEDS = (3, np.int64(3), np.uint64(3), np.array(3))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_is_any_whole_number(pipeline: Pipeline, seed: Any) -> None:
    expected = pipeline.generate(PROMPT, seed=3, mode="ar").tokens
    np.testing.assert_array_equal(pipeline.generate(PROMPT, seed=seed, mode="ar").tokens, expected)
    found = pipeline.generate([PROMPT, PROMPT], seed=seed, mode="ar", batch=np.int64(2))  # type: ignore[call-overload]
    assert [result.tokens.tolist() for result in found] == [expected.tolist()] * 2


@pytest.mark.parametrize("seeds", [[3, 4], (3, 4), np.arange(3, 5), range(3, 5), iter([3, np.uint8(4)])])
def test_a_seed_of_each_prompt(pipeline: Pipeline, seeds: Any) -> None:
    expected = [pipeline.generate(PROMPT, seed=seed, mode="ar").tokens.tolist() for seed in (3, 4)]
    found = pipeline.generate([PROMPT, PROMPT], seed=seeds, mode="ar", batch=2)
    assert [result.tokens.tolist() for result in found] == expected


@pytest.mark.parametrize("seed", [None, 1.5, True, np.True_, "3", -1, 2**64, np.float64(3)])
def test_what_is_no_seed(pipeline: Pipeline, seed: Any) -> None:
    """One line, alone and in a batch, and of each prompt."""
    said = r"^seed: expected a whole number in 0\.\.18446744073709551615, got [^\n]*$"
    with pytest.raises(SettingsError, match=said):
        pipeline.generate(PROMPT, seed=seed)
    with pytest.raises(SettingsError, match=said):
        pipeline.generate([PROMPT], seed=seed, batch=1)
    with pytest.raises(SettingsError, match=said):
        pipeline.generate([PROMPT], seed=[seed], batch=1)
    with pytest.raises(SettingsError, match=said):
        pipeline.describe(PROMPT, seed=seed)


@pytest.mark.parametrize("seeds", [[], [1], [1, 2, 3], itertools.count(), np.zeros((2, 2), dtype=np.int64)])
def test_other_numbers_of_seeds(pipeline: Pipeline, seeds: Any) -> None:
    with pytest.raises(SettingsError, match=r"^seed: expected [^\n]*$"):
        pipeline.generate([PROMPT] * 2, seed=seeds, batch=1)


@pytest.mark.parametrize("prompts", [(PROMPT,), np.array([PROMPT]), iter([PROMPT]), {PROMPT: 1}])
def test_prompts_are_whatever_can_be_iterated(pipeline: Pipeline, prompts: Any) -> None:
    assert len(pipeline.generate(prompts, mode="ar", batch=1)) == 1


def test_no_prompts_are_no_images(pipeline: Pipeline) -> None:
    assert pipeline.generate([], batch=4) == []
    assert pipeline.generate(iter([]), seed=7, batch=4) == []


@pytest.mark.parametrize("batch", [0, -1, 257, 1.0, True, "1", [1]])
def test_what_is_no_batch(pipeline: Pipeline, batch: Any) -> None:
    with pytest.raises(SettingsError, match=r"^batch: expected a whole number in 1\.\.256, got [^\n]*$"):
        pipeline.generate([PROMPT], batch=batch)


@pytest.mark.parametrize("prompt", [None, 3, b"a red star", [None], ["a red star", 3], np.array(PROMPT)])
def test_what_is_no_prompt(pipeline: Pipeline, prompt: Any) -> None:
    """One line that names the prompt, with and without a batch."""
    for given in ({}, {"batch": 2}):
        with pytest.raises((SettingsError, PromptError), match=r"^prompt: expected [^\n]*$"):
            pipeline.generate(prompt, **given)  # type: ignore[call-overload]
    with pytest.raises(PromptError, match=r"^prompt: expected [^\n]*$"):
        pipeline.draw(prompt)


WRONG_GRIDS = {
    "floats": lambda grid: grid.astype(float),
    "NaN": lambda grid: np.full(grid.shape, np.nan),
    "negative": lambda grid: grid - 1 - grid.max(),
    "too large": lambda grid: grid + 48,
    "booleans": lambda grid: grid > 3,
    "one dimension": lambda grid: grid.ravel(),
    "text": lambda grid: grid.astype(str),
    "ragged": lambda grid: [[1, 2], [3]],
    "none": lambda grid: None,
}


@pytest.mark.parametrize("kind", WRONG_GRIDS)
def test_what_is_no_grid_of_tokens(pipeline: Pipeline, kind: str) -> None:
    """A negative token would be counted from the last code, and NaN become some number."""
    drawn = pipeline.generate(PROMPT, mode="zipar")
    wrong = WRONG_GRIDS[kind](drawn.tokens)  # type: ignore[no-untyped-call]  # of the table above
    with pytest.raises(SettingsError, match=r"^tokens: expected [^\n]*, got [^\n]*$"):
        pipeline.image_from_tokens(wrong)
    with pytest.raises(SettingsError, match=r"^tokens: expected [^\n]*, got [^\n]*$"):
        pipeline.token_log_probs(PROMPT, drawn.plan, wrong)
    if kind != "none":
        draft = WRONG_GRIDS[kind](np.arange(16).reshape(4, 4))  # type: ignore[no-untyped-call]  # as above
        with pytest.raises(SettingsError, match=r"^draft: expected [^\n]*, got [^\n]*$"):
            pipeline.draw(PROMPT, mode="parallel", drafters=1, draft=draft)


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int32, np.int64])
def test_tokens_of_any_integer_type(pipeline: Pipeline, dtype: type[np.integer[Any]]) -> None:
    drawn = pipeline.generate(PROMPT, mode="zipar")
    image = np.asarray(pipeline.image_from_tokens(drawn.tokens.astype(dtype)))
    np.testing.assert_array_equal(image, np.asarray(drawn.image))
    draft: Any = np.arange(16, dtype=dtype).reshape(4, 4)
    expected = pipeline.draw(PROMPT, mode="parallel", drafters=1, draft=draft.astype(np.int64)).tokens
    for given in (draft, draft.tolist()):
        assert np.array_equal(pipeline.draw(PROMPT, mode="parallel", drafters=1, draft=given).tokens, expected)
