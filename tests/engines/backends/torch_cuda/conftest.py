"""Small models of every family, on the CPU; kernels run in Triton's interpreter, and are skipped without Triton."""

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch

from mulo_sd.engines.backends.torch_cuda import check
from mulo_sd.engines.backends.torch_cuda.backend import TorchBackend
from mulo_sd.reference.models import Condition
from mulo_sd.reference.random_weights import random_condition
from tests.engines.backends.torch_cuda.small_decodes import CODES, FIELDS, Small, small_models
from tests.engines.backends.torch_cuda.small_transformers import CPU, random_transformer
from tests.fakes.torch_backend import TorchBackend as PlainBackend
from tests.fakes.torch_backend import bundle_in_memory

# Triton looks at it when it is imported: its own functions are Python's then, too.
os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(scope="session")
def interpreter() -> Any:
    """Triton, after the interpreter has run a pass."""
    triton = pytest.importorskip("triton", reason="the kernels are Triton's, which comes with torch for a GPU")
    from mulo_sd.engines.backends.torch_cuda.few_rows import FewRows

    weights = random_transformer("absolute", torch.float32)
    try:
        check.compare_kernels(weights, [FewRows(weights, CPU)], 77)
    except Exception as error:  # the interpreter's own class, which hides the cause
        if not any(words in str(error) for words in ("0-dimensional", "ndim > 0")):
            raise
        pytest.skip(
            "Triton's interpreter takes arrays of one number for numbers, as this numpy does not; Triton 3.9 does not"
        )
    return triton


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Small]:
    """Return a family's models by name."""
    made: dict[str, Small] = {}

    def make(family: str) -> Small:
        if family not in made:
            models, generator = small_models(family), torch.Generator().manual_seed(3)
            if family == "demo":
                ids = torch.randint(1, 7, (2, 2, FIELDS), generator=generator)
                condition = Condition(ids[0], ids[1])
            else:
                condition = random_condition(models.target.config, generator)
            bundle = bundle_in_memory(models, tmp_path_factory.mktemp(family), FIELDS, CODES, family)
            made[family] = Small(
                models, condition, bundle, PlainBackend(models, FIELDS), TorchBackend(models, torch.float32, "cpu")
            )
        return made[family]

    return make
