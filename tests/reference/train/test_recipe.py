"""What a recipe makes of the number of pictures: which weights are kept, and what ends a run."""

import pytest

from mulo_sd.reference.train.recipe import BY_HEART, PATIENCE, Keep, Recipe, Sizes


@pytest.mark.parametrize(
    ("pictures", "keep", "patience", "learns_by_heart", "ends_after"),
    [
        (BY_HEART, None, None, False, PATIENCE),
        (BY_HEART - 1, None, None, True, 0),
        (None, None, None, False, PATIENCE),  # a world: its pictures never end
        (16, "best", None, False, PATIENCE),
        (16, "best", 0, False, 0),
        (10**6, "last", None, True, 0),
        (16, None, 3, True, 3),
    ],
)
def test_few_pictures_are_learned_by_heart(
    pictures: int | None, keep: Keep | None, patience: int | None, learns_by_heart: bool, ends_after: int
) -> None:
    recipe = Recipe(Sizes(), ("target",), pictures=pictures, keep=keep, patience=patience)
    assert (recipe.learns_by_heart, recipe.ends_after) == (learns_by_heart, ends_after)
