"""Real inputs of models that were trained on captioned pictures, for comparing graphs with the reference."""

import torch
from torch import Tensor

from mulo_sd.export.evidence import Evidence, gather_evidence
from mulo_sd.reference.models import Models
from mulo_sd.reference.trained import Trained


@torch.inference_mode()
def trained_evidence(models: Models, trained: Trained, neighbours: Tensor) -> Evidence:
    """Decode a held-out caption with the float32 reference; the tokens are those of the caption's own picture."""
    return gather_evidence(models, trained.condition(trained.examples[0]), trained.tokens, neighbours)
