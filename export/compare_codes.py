"""Whether U_r and D_r choose the reference's codes, near-ties aside (SCALE-1, SCALE-2).

A cell's code is the nearest to its features. Features that are off by d let a code win that loses in the reference by
at most d times the distance of the two codes; a code that loses by more is wrong, and one is enough. How far off the
features of a correct graph are is measured where the graph's own module runs in the bundle's arithmetic. How many
near-ties may differ follows from the binomial distribution (`export.allowed`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from mulo_sd.engines.bundle.contract import Precision
from mulo_sd.export.allowed import max_allowed
from mulo_sd.export.arithmetic import Activations, watched
from mulo_sd.export.comparison import Runner, ToleranceError, outputs_of
from mulo_sd.export.evidence import Evidence
from mulo_sd.export.graphs.scaling import DownSamplerGraph, UpSamplerGraph
from mulo_sd.export.graphs.specification import GraphSpecification
from mulo_sd.export.precision import (
    CODE_MARGIN,
    CODE_TOLERANCE,
    LARGE_CODEBOOK_FACTOR,
    OTHER_CODE_RATE,
    SMALL_CODEBOOK,
    TORCH_DTYPES,
)
from mulo_sd.reference.largest_error import check_finite_numbers
from mulo_sd.reference.latent import LatentScaler
from mulo_sd.reference.models import Models
from mulo_sd.reference.scaling import enlarge, shrink
from mulo_sd.reference.tokenizer import ImageTokenizer

# Of a large codebook the tokenizers are large too, and the shares that are allowed five times as large.
COMPARED_CELLS, COMPARED_CELLS_OF_LARGE = 512, 192
SEED = 20260112
# Rivals of a cell's code that may win by rounding; the next ones are too far.
RIVALS = 4
# Of a product of unit vectors in float32, in another order than the reference's.
FLOAT32_ROUNDING = 1e-6


@dataclass(frozen=True)
class _Scaler:
    """U_r or D_r by its graph's name."""

    direction: str
    ratio: int
    method: str

    @classmethod
    def of(cls, graph: str) -> "_Scaler":
        direction, ratio, method = graph.rsplit("_", 2)
        return cls(direction, int(ratio), method)

    @property
    def up(self) -> bool:
        return self.direction == "up_sampler"

    def by(self, models: Models) -> ImageTokenizer | LatentScaler:
        """Return the reference's own."""
        if self.method != "latent":
            return models.tokenizer
        samplers = models.latent_up_samplers if self.up else models.latent_down_samplers
        return cast(LatentScaler, samplers[self.ratio])

    def features(self, by: ImageTokenizer | LatentScaler, tokens: Tensor) -> Tensor:
        """Return the normalised features that codes are looked up by, Float[H, W, d]."""
        if isinstance(by, LatentScaler):
            return by.features(tokens[None])[0]
        images = by.images_from_tokens(tokens[None])
        resize = enlarge if self.up else shrink
        return by.features(resize(images, self.ratio, self.method))[0]


def _codes(by: ImageTokenizer | LatentScaler) -> Tensor:
    """Return the code vectors that features are compared with, Float[V, d]."""
    return by.codebook.float() if isinstance(by, LatentScaler) else F.normalize(by.codebook.float(), dim=-1)


def _choose(by: ImageTokenizer | LatentScaler, features: Tensor) -> Tensor:
    look_up = by.nearest_codes if isinstance(by, LatentScaler) else by.codes_from_features
    return look_up(features[None])[0]


@dataclass(frozen=True)
class _Case:
    """One grid: its tokens, the reference's codes and features, and how far off the bundle's features are.

    Attributes:
        tokens: Int[h, w].
        features: Float[n, d], the reference's.
        expected: Int[H, W].
        own: Int[H, W], what the graph's own module chooses in the bundle's arithmetic.
        off: Float[n], the distance of its features from the reference's.
    """

    tokens: Tensor
    features: Tensor
    expected: Tensor
    own: Tensor
    off: Tensor


class CodeComparison:
    """Grids whose codes are known, for the runs of one graph."""

    def __init__(
        self, specification: GraphSpecification, evidence: Evidence, precision: Precision, activations: Activations
    ) -> None:
        """Run the reference, and the graph's module in the arithmetic of the bundle.

        Raises:
            ActivationError: the module's numbers become too large for it.
        """
        self.specification, self.precision = specification, precision
        self.scaler = _Scaler.of(specification.name)
        reference = self.scaler.by(evidence.models)
        module = cast(UpSamplerGraph | DownSamplerGraph, specification.module).by
        self.codes, large = _codes(reference), evidence.models.tokenizer.config.codes > SMALL_CODEBOOK
        self.cases = []
        dtype = TORCH_DTYPES[precision]
        for tokens in self._grids(evidence, COMPARED_CELLS_OF_LARGE if large else COMPARED_CELLS):
            features = self.scaler.features(reference, tokens)
            with watched(specification.module, activations):
                own = self.scaler.features(module, tokens)
            own_codes = _choose(module, own)
            wide = check_finite_numbers(features.flatten(0, 1).float(), "the reference's features")
            bundle_features = check_finite_numbers(
                own.flatten(0, 1).float(), f"features in {str(dtype).removeprefix('torch.')}"
            )
            off = (wide - bundle_features).norm(dim=-1)
            self.cases.append(_Case(tokens, wide, _choose(reference, features), own_codes, off))
        every = torch.cat([case.off for case in self.cases])
        self.usual_off = float(every.square().mean().sqrt())
        # Codes that the bundle rounds are compared with features of length 1.
        self.code_rounding = float((_codes(module) - self.codes).norm(dim=-1).max())
        most = OTHER_CODE_RATE[precision] * (LARGE_CODEBOOK_FACTOR if large else 1)
        self.rate = min(max(self._expected_share(), OTHER_CODE_RATE["fp32"]), most)

    def _grids(self, evidence: Evidence, most: int) -> Iterator[Tensor]:
        """Yield tokens of the evidence, then random ones, until enough cells come out."""
        models, cells = evidence.models, 0
        numbers = range(len(models.drafters) + 1)
        pairs = [pair for pair in combinations(numbers, 2) if models.scale_ratio(*pair) == self.scaler.ratio]
        for high, low in pairs:
            whole = evidence.tokens[low if self.scaler.up else high]
            step = 1 if self.scaler.up else self.scaler.ratio
            rows_of_low = len(whole) // step
            for rows in sorted({1, rows_of_low // 2 + 1, rows_of_low}):
                yield whole[: rows * step]
                cells += self._outputs(whole[: rows * step])
        generator = torch.Generator().manual_seed(SEED)
        shape = evidence.tokens[pairs[0][1 if self.scaler.up else 0]].shape
        while cells < most:
            tokens = torch.randint(models.tokenizer.config.codes, shape, generator=generator)
            yield tokens
            cells += self._outputs(tokens)

    def _expected_share(self) -> float:
        """Return in what share of the cells rounding is expected to choose another code.

        A rival wins where the error along the line between both codes exceeds its distance: normal, with twice
        the deviation of an error that is alike in all directions. Every cell near a tie counts in part, so that
        few cells tell as much.
        """
        shares = []
        for case in self.cases:
            best, nearest = (case.features @ self.codes.t()).topk(RIVALS + 1, dim=-1)
            apart = (self.codes[nearest[:, :1]] - self.codes[nearest[:, 1:]]).norm(dim=-1)
            off = 2 * case.off.clamp(min=self.usual_off)[:, None] / self.codes.shape[1] ** 0.5
            spread = off * apart + self.code_rounding / 2 + FLOAT32_ROUNDING
            rivals = torch.special.ndtr((best[:, 1:] - best[:, :1]) / spread).sum(dim=-1)
            shares.append(rivals.clamp(max=1.0))
        return float(torch.cat(shares).mean())

    def _outputs(self, tokens: Tensor) -> int:
        area = self.scaler.ratio**2
        return tokens.numel() * area if self.scaler.up else tokens.numel() // area

    def own_error(self) -> float:
        """Return the error of the graph's own module in the bundle's arithmetic, as `error` does."""
        return self._judge([case.own for case in self.cases])

    def error(self, run: Runner) -> float:
        """Return a graph's error: the worse of two counts, as far within its tolerance as the count is.

        Raises:
            ToleranceError: a code loses by more than rounding explains.
            NotFiniteError: an output is not finite.
        """
        name, output = self.specification.input_names[0], self.specification.compared
        chosen = [outputs_of(run, self.specification, {name: case.tokens.contiguous()})[output] for case in self.cases]
        return self._judge(chosen)

    def _judge(self, chosen: list[Tensor]) -> float:
        others = beyond = total = 0
        for case, codes in zip(self.cases, chosen, strict=True):
            lead, margin = self._lead(case, codes), self._margin(case, codes)
            different = codes.flatten() != case.expected.flatten()
            wrong = different & (lead > margin)
            if bool(wrong.any()):
                cell = int((lead - margin).masked_fill(~wrong, -1.0).argmax())
                raise ToleranceError(
                    f"output {self.specification.compared}: {int(wrong.sum())} of {len(wrong)} codes are wrong: "
                    f"cell {cell} is {int(codes.flatten()[cell])} instead of {int(case.expected.flatten()[cell])}, "
                    f"which is nearer by {float(lead[cell]):.3g}; rounding explains {float(margin[cell]):.3g}"
                )
            others += int(different.sum())
            beyond += int((lead > CODE_MARGIN[self.precision]).sum())
            total += different.numel()
        limit = CODE_TOLERANCE[self.precision]
        shares = (others / max_allowed(total, self.rate), beyond / max_allowed(total, limit))
        return max(shares) * limit

    def _lead(self, case: _Case, codes: Tensor) -> Tensor:
        """Return by how much each code loses to the reference's, Float[n]."""
        if codes.shape != case.expected.shape:
            raise ToleranceError(
                f"output {self.specification.compared}: expected {list(case.expected.shape)} codes, got "
                f"{list(codes.shape)}"
            )
        if not bool(((codes >= 0) & (codes < len(self.codes))).all()):
            raise ToleranceError(
                f"output {self.specification.compared}: expected codes in 0..{len(self.codes) - 1}, got "
                f"{int(codes.min())}..{int(codes.max())}"
            )
        difference = self.codes[case.expected.flatten()] - self.codes[codes.flatten()]
        lead: Tensor = (case.features * difference).sum(dim=-1)
        return lead

    def _margin(self, case: _Case, codes: Tensor) -> Tensor:
        """Return by how much a code may lose, Float[n]: twice what the bundle's features are off by, and float32's."""
        apart = (self.codes[case.expected.flatten()] - self.codes[codes.flatten()]).norm(dim=-1)
        off = case.off.clamp(min=self.usual_off)
        margin: Tensor = 2 * (off * apart + self.code_rounding) + CODE_MARGIN["fp32"]
        return margin
