"""Classes as prompts: by number, and by their names in ImageNet."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mulo_sd import engines


def test_classes(tiny: Callable[..., Any]) -> None:
    pipeline = tiny("c2i").pipeline
    assert pipeline.describe("3").condition.cond.tolist() == [[3]]
    for wrong in ("10", "-1", "goldfish", "", "99999999999999999999"):
        with pytest.raises(engines.PromptError, match=r"expected a class in 0\.\.9"):
            pipeline.describe(wrong)


def test_imagenet_names(tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand classes in their published order; a name that two of them have is asked back."""
    front_end = tiny("c2i").pipeline.front_end
    monkeypatch.setattr(front_end, "null", np.array([[1000]]))
    assert front_end.number("Goldfish") == 1
    assert front_end.number("toilet paper") == 999
    assert front_end.number("207") == 207
    with pytest.raises(engines.PromptError, match="134, 517 have this name"):
        front_end.number("crane")
    with pytest.raises(engines.PromptError, match="or a name such as 'goldfish'"):
        front_end.number("unicorn")
