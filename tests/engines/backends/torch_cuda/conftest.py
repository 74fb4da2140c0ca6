"""Kernels run in Triton's interpreter, on the CPU; their tests are skipped where there is no Triton."""

import os
from typing import Any

import pytest
import torch

from mulo_sd.engines.backends.torch_cuda import check
from tests.engines.backends.torch_cuda.small_transformers import CPU, random_transformer

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
