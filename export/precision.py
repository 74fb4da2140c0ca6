"""The tolerances that the graphs of a bundle are held to, by its precision."""

import torch

from mulo_sd.engines.bundle.contract import Precision

TORCH_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

# Each is two to some seventy times what the build's table shows for the demo; CONF-1 holds engines to the same ones.
# Largest absolute difference of logits (about 10 in size) from the float32 reference.
LOGIT_TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "fp16": 0.1, "bf16": 1.0}
# Largest absolute difference of prefix embeddings; relative to the largest where that is above 1.
EMBEDDING_TOLERANCE: dict[Precision, float] = {"fp32": 1e-5, "fp16": 1e-3, "bf16": 1e-2}
# Largest absolute difference of TA-Tok's features (about 1 in size), after a few blocks of attention.
FEATURE_TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "fp16": 0.05, "bf16": 0.5}
# Largest difference of a pixel, 0..255.
PIXEL_TOLERANCE: dict[Precision, float] = {"fp32": 0.01, "fp16": 0.5, "bf16": 4.0}
# By how much (cosine) a code that an up- or down-sampler chooses may be farther from its features than the reference's,
# in all but few cells. In none it may lose by more than rounding explains: `export.compare_codes`.
CODE_MARGIN: dict[Precision, float] = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 5e-2}
# Share of codes that are farther than that in a correct graph, at most.
CODE_TOLERANCE: dict[Precision, float] = {"fp32": 0.001, "fp16": 0.005, "bf16": 0.02}
# Published models are ten times as deep as the demo's, and their logits, features and pixels farther off by as much;
# models that somebody trained may be as deep.
# Measured with random weights of full size, fp16: docs/checkpoints.md.
PUBLISHED_FACTOR = 5
# Share of other codes, near-ties, in a correct graph of 1,024 codes, at most, whatever its features' errors explain; of
# VQ-16's 16,384, which lie closer together, five times as many. In fp32 also the least.
OTHER_CODE_RATE: dict[Precision, float] = {"fp32": 5e-5, "fp16": 0.02, "bf16": 0.08}
SMALL_CODEBOOK, LARGE_CODEBOOK_FACTOR = 1024, 5
# Share of rows in which a correct graph keeps other codes at the edge of top-p, at most, with as many codes; and how
# many codes those are.
EDGE_ROW_RATE, EDGE_CODES = 0.002, 2
# A build warns of numbers within this factor of a precision's largest: real prompts may go beyond those measured.
ACTIVATION_ROOM = 4
# Sampling and acceptance are float32 everywhere; largest difference of log-probabilities and pooled sums.
PROBABILITY_TOLERANCE = 1e-4
