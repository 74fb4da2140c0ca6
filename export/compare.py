"""Compare a graph with the float32 reference on real inputs."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor, nn

from mulo_sd.engines.bundle.contract import Family, Precision
from mulo_sd.export.arithmetic import ActivationError, Activations, watched
from mulo_sd.export.compare_codes import CodeComparison
from mulo_sd.export.compare_passes import pass_error
from mulo_sd.export.compare_sampling import sampling_error
from mulo_sd.export.comparison import Runner, ToleranceError, outputs_of
from mulo_sd.export.evidence import Evidence
from mulo_sd.export.graphs.specification import GraphSpecification, Kind
from mulo_sd.export.precision import (
    CODE_TOLERANCE,
    EMBEDDING_TOLERANCE,
    FEATURE_TOLERANCE,
    LOGIT_TOLERANCE,
    PIXEL_TOLERANCE,
    PROBABILITY_TOLERANCE,
    PUBLISHED_FACTOR,
    TORCH_DTYPES,
)
from mulo_sd.reference.checkpoints.ta_tok import semantic_features
from mulo_sd.reference.largest_error import NotFiniteError, check_finite_numbers, largest_error

ERROR_OF: dict[Kind, str] = {
    "logits": "largest absolute difference of a logit, or a hidden state, over real passes (prefill, verification, "
    "single tokens)",
    "embeddings": "largest difference of a prefix embedding, relative where they are large",
    "features": "largest absolute difference of a feature of semantic ids",
    "pixels": "largest absolute difference of a pixel, 0..255",
    "codes": "number of other codes, all of them near-ties, or of near-ties beyond a margin; scaled to the same limit",
    "probabilities": "largest absolute difference of a log-probability, pooled probability or entropy",
}


def tolerance_of(kind: Kind, precision: Precision, family: Family = "demo") -> float:
    """Return the largest error that a graph may have."""
    factor = 1 if family == "demo" else PUBLISHED_FACTOR
    by_kind = {
        "logits": factor * LOGIT_TOLERANCE[precision],
        "embeddings": EMBEDDING_TOLERANCE[precision],
        "features": factor * FEATURE_TOLERANCE[precision],
        "pixels": factor * PIXEL_TOLERANCE[precision],
        "codes": CODE_TOLERANCE[precision],
        "probabilities": PROBABILITY_TOLERANCE,
    }
    return by_kind[kind]


class Comparison:
    """Compares one graph with the reference: its module in the bundle's own arithmetic, and the exported graph.

    Attributes:
        specification: The graph; its module is in the bundle's precision.
        evidence: The reference and the inputs on which both are run.
        precision: Of the bundle.
        activations: How large the module's numbers became; None for graphs that are float32 in every bundle.
    """

    def __init__(self, specification: GraphSpecification, evidence: Evidence, precision: Precision) -> None:
        self.specification, self.evidence, self.precision = specification, evidence, precision
        sampling = specification.kind == "probabilities"
        self.activations = None if sampling else Activations(TORCH_DTYPES[precision])

    @torch.inference_mode()
    def own_error(self) -> float:
        """Return the error of the graph's module in the arithmetic of the bundle.

        Raises:
            ToleranceError: it overflows, or gives what is wrong whatever the tolerance.
        """
        return self._named(self._own_error)

    @torch.inference_mode()
    def error(self, run: Runner) -> float:
        """Return the error of a graph in a runtime, of the kind that its specification names.

        Raises:
            ToleranceError: an output holds NaN or infinity, or is wrong whatever the tolerance.
        """
        return self._named(lambda: self._error(run))

    def drop_module(self) -> None:
        """Give up the module once it has been measured, so that the runtime's weights are the only ones in memory."""
        self.specification = replace(self.specification, module=nn.Identity())

    def _named(self, measure: Callable[[], float]) -> float:
        try:
            return measure()
        except (ToleranceError, NotFiniteError) as error:
            raise ToleranceError(f"graph {self.specification.name}, {error}; the bundle was not written") from None
        except ActivationError as error:
            raise ToleranceError(
                f"graph {self.specification.name}: {error}; the bundle was not written, build it with "
                f"--precision {'bf16 or fp32' if self.precision == 'fp16' else 'fp32'}"
            ) from None

    def _watched(self) -> AbstractContextManager[None]:
        return nullcontext() if self.activations is None else watched(self.specification.module, self.activations)

    def _own_error(self) -> float:
        if self.specification.kind == "codes":
            return self._codes.own_error()

        def run(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
            with self._watched():
                return self.specification.run(inputs)

        return self._error(run)

    @cached_property
    def _codes(self) -> CodeComparison:
        activations = self.activations or Activations(torch.float32)
        return CodeComparison(self.specification, self.evidence, self.precision, activations)

    def _error(self, run: Runner) -> float:
        specification = self.specification
        match specification.kind:
            case "logits":
                return pass_error(run, specification, self.evidence)
            case "embeddings":
                return self._prefix_error(run)
            case "features":
                return self._feature_error(run)
            case "pixels":
                return self._pixel_error(run)
            case "codes":
                return self._codes.error(run)
            case "probabilities":
                return sampling_error(run, specification, self.evidence)

    def _prefixes(self) -> tuple[Tensor, Tensor]:
        """Return the condition as the graph's transformer takes it, and the prefix that the reference makes of it."""
        model = self.evidence.conditioned(self.specification)
        prefixes = self.evidence.condition.prefixes(model, 2.0)
        return prefixes, check_finite_numbers(model.prefix_embeddings(prefixes), "the reference's prefix")

    def _prefix_error(self, run: Runner) -> float:
        prefixes, expected = self._prefixes()
        prefix = outputs_of(run, self.specification, {"condition": prefixes})["prefix"]
        return largest_error(prefix, expected, "output prefix") / max(1.0, float(expected.abs().max()))

    def _feature_error(self, run: Runner) -> float:
        decoder = self.evidence.ta_tok
        if decoder is None:
            raise ValueError("evidence: expected TA-Tok's decoder for a graph of its features, got none")
        ids = torch.arange(decoder.count) % decoder.config.codes
        features = outputs_of(run, self.specification, {"ids": ids})["features"]
        return largest_error(features, semantic_features(decoder, ids), "output features")

    def _pixel_error(self, run: Runner) -> float:
        tokens = self.evidence.tokens[0]
        expected = self.evidence.models.tokenizer.images_from_tokens(tokens[None])[0]
        expected = ((expected + 1) * 127.5).clamp(0, 255).permute(1, 2, 0)
        image = outputs_of(run, self.specification, {"tokens": tokens})["image"]
        return largest_error(image, expected, "output image")


def measure_error(
    run: Runner, specification: GraphSpecification, evidence: Evidence, precision: Precision = "fp32"
) -> float:
    """Return a graph's error, of the kind that its specification names; its module is in the bundle's precision.

    Raises:
        ToleranceError: an output holds NaN or infinity, or is wrong whatever the tolerance.
    """
    return Comparison(specification, evidence, precision).error(run)


def check_error(specification: GraphSpecification, error: float, precision: Precision, family: Family = "demo") -> None:
    """Compare an error with its tolerance.

    Raises:
        ToleranceError: it is larger.
    """
    limit = tolerance_of(specification.kind, precision, family)
    if not error <= limit:
        raise ToleranceError(
            f"graph {specification.name}, output {specification.compared}: {ERROR_OF[specification.kind]} is "
            f"{error:.4g}, expected at most {limit:g} in {precision}; the bundle was not written"
        )
