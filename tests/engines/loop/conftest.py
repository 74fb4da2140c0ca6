"""What the tests of the loop share."""

import numpy as np
import pytest
import torch

from mulo_sd.reference.models import Condition, Models
from tests.engines.loop.toys import CODES, FIELDS, PREFIX, Toy
from tests.fakes.torch_backend import TorchBackend, bundle_in_memory


@pytest.fixture(scope="session")
def toy(toy_models: Models, tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """Untrained models as the reference and as an engine."""
    ids = torch.from_numpy(np.random.default_rng(4).integers(1, 7, (2, PREFIX, FIELDS)))
    bundle = bundle_in_memory(toy_models, tmp_path_factory.mktemp("toy"), FIELDS, CODES)
    return Toy(toy_models, Condition(ids[0], ids[1]), bundle, TorchBackend(toy_models, FIELDS))
