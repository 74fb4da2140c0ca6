"""The logits of one pass as a tensor on the device, sampled and judged by kernels of our own or by torch."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd.engines.backends.base import Floats, PartedScores, Tokens, Wanted, one_line
from mulo_sd.engines.backends.cell_noise import CellNoise
from mulo_sd.engines.backends.device_arrays import DeviceArrays
from mulo_sd.engines.backends.device_scores import DeviceScores, split_by
from mulo_sd.engines.backends.torch_cuda.noise import NoiseTables
from mulo_sd.engines.backends.torch_cuda.sampling import best_tokens, log_probs
from mulo_sd.engines.backends.torch_cuda.work import DeviceWork, host
from mulo_sd.engines.distribution import Distribution
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.reference.radius import entropy

if TYPE_CHECKING:
    from mulo_sd.engines.backends.torch_cuda.sample_launch import SampleKernels

Found = TypeVar("Found")


def _int32(tensor: Tensor) -> Tensor:
    return tensor.int()


def _transposed(tensor: Tensor) -> Tensor:
    return tensor.t().float().contiguous()


class Sampling:
    """What sampling needs beside logits, shared by all scores of a backend.

    Attributes:
        kernels: What samples and judges in one launch; None where torch's own operations do.
        notes: What went wrong and was done without.
    """

    def __init__(self, work: DeviceWork, notes: list[str] | None = None) -> None:
        self.work, self.noise, self.arrays = work, NoiseTables(work.device), DeviceArrays(work.put)
        self.notes: list[str] = [] if notes is None else notes
        self.kernels: SampleKernels | None = None

    def use_kernels(self, vocabularies: set[int]) -> None:
        """Let kernels sample and judge if they agree with torch's operations; else `notes` says why they do not."""
        try:
            from mulo_sd.engines.backends.torch_cuda.sample_check import difference
            from mulo_sd.engines.backends.torch_cuda.sample_launch import SampleKernels

            with self.work.alone():
                kernels = SampleKernels(self.work)
                differences = [difference(kernels, vocabulary) for vocabulary in sorted(vocabularies)]
            failed = next(filter(None, differences), None)
        except Exception as error:  # no triton, no compiler, a GPU that it does not know
            failed = f"{type(error).__name__}: {one_line(error)}"
        if failed is None:
            self.kernels = kernels
        else:
            self._do_without(failed)

    def _do_without(self, why: str) -> None:
        self.kernels = None
        self.notes.append(f"kernels of sampling: {why}; torch's own operations are used")

    def by_kernels(self, logits: Tensor, call: "Callable[[SampleKernels], Found]") -> Found | None:
        """Return what a call of the kernels finds; None where there are none for such logits."""
        if self.kernels is None or not self.kernels.takes(logits):
            return None
        try:
            return call(self.kernels)
        except (torch.OutOfMemoryError, torch.AcceleratorError):  # the device's: other kernels would fail, too
            raise
        except Exception as error:  # whatever a compiler says of settings that come for the first time
            self._do_without(f"{type(error).__name__}: {one_line(error)}")
            return None

    def bonus(self, anchor: Anchor, cells: Tokens) -> Tensor:
        """Return what is added to log p of cells, Float32[n, V] (ANCHOR-1)."""
        codes = self.arrays.of(anchor.codes)
        drafts = codes[self.work.put(anchor.drafts_at(cells))]
        return anchor.strength * (drafts @ codes.t())


def _is_run(numbers: Tokens) -> bool:
    """Whether ascending numbers follow one another without a gap."""
    return int(numbers[-1]) - int(numbers[0]) == len(numbers) - 1


class TorchScores(DeviceScores, PartedScores):
    """Logits of one pass as a tensor of their own, which outlives the next pass."""

    def __init__(self, sampling: Sampling, logits: Tensor, hidden: Tensor | None = None) -> None:
        self.sampling, self.work, self.tensor, self.states = sampling, sampling.work, logits, hidden

    def part(self, first_row: int, batch: int, fed: int) -> "TorchScores":
        """Return those of one of the decodes that shared a pass: its rows, and the tokens that it fed."""
        rows = slice(first_row, first_row + batch)
        states = None if self.states is None else self.states[rows, :fed]
        return TorchScores(self.sampling, self.tensor[rows, :fed], states)

    def sample_together(self, wanted: Sequence[Wanted], distribution: Distribution) -> list[Tokens]:
        """Sample for several decodes in one launch, where kernels of our own do it."""
        with self.work.alone():
            tokens = self.sampling.by_kernels(
                self.tensor, lambda kernels: self._sampled_together(kernels, wanted, distribution)
            )
        if tokens is None:
            return super().sample_together(wanted, distribution)
        return split_by(wanted, tokens)

    def logits(self) -> Floats:
        """Return all of them on the host."""
        with self.work.alone():
            return host(self.tensor)

    def hidden(self) -> Floats:
        """Return the hidden states on the host."""
        if self.states is None:
            return super().hidden()
        with self.work.alone():
            return host(self.states)

    def last(self) -> "TorchScores":
        """Return the last row's."""
        with self.work.alone():
            states = None if self.states is None else self.states[:, -1:].clone()
            return TorchScores(self.sampling, self.tensor[:, -1:].clone(), states)

    def _run(
        self,
        graph: str,
        rows: Tokens,
        distribution: Distribution,
        inputs: Mapping[str, Any],
        outputs: tuple[str, ...],
    ) -> dict[str, NDArray[Any]]:
        """Sample and judge in kernels of our own, or in torch's operations where there are none."""
        with self.work.alone():
            if graph == "acceptance":
                both = self._judged(rows, distribution, inputs["draft_tokens"], inputs["neighbours"])
                return {"pooled_probs": both[0], "entropies": both[1]}
            noise = inputs["noise"]
            if isinstance(noise, CellNoise):
                return {"tokens": self._sampled(rows, distribution, noise)}
            logs = self.sampling.by_kernels(
                self.tensor, lambda kernels: kernels.log_probs(self.tensor, rows, distribution)
            )
            if logs is None:
                logs = self._log_probs(rows, distribution)
            return {"tokens": host(best_tokens(logs + self.work.put(noise))), "log_probs": host(logs)}

    def _log_probs(self, rows: Tokens, distribution: Distribution) -> Tensor:
        """Return log p by torch's operations, of consecutive rows without a copy."""
        if _is_run(rows):
            logits = self.tensor[:, int(rows[0]) : int(rows[-1]) + 1]
        else:
            logits = self.tensor[:, self.work.put(rows)]
        return log_probs(
            logits, distribution.guidance_scale, distribution.temperature, distribution.top_k, distribution.top_p
        )

    def _sampled(self, rows: Tokens, distribution: Distribution, noise: CellNoise) -> Tokens:
        """Sample by noise that is made on the device."""
        tokens = self.sampling.by_kernels(
            self.tensor, lambda kernels: self._sampled_by_kernels(kernels, rows, distribution, noise)
        )
        if tokens is not None:
            return tokens
        logs, cells = self._log_probs(rows, distribution), noise.cells
        first, last = int(cells[0]), int(cells[-1])
        table = self.sampling.noise.of(noise.source).through(first, last)
        own = table[first : last + 1] if _is_run(cells) else table[self.work.put(cells)]
        if noise.anchor is not None:
            own = own + self.sampling.bonus(noise.anchor, cells)
        return host(best_tokens(logs + own))

    def _sampled_by_kernels(
        self, kernels: "SampleKernels", rows: Tokens, distribution: Distribution, noise: CellNoise
    ) -> Tokens:
        source, cells, anchor = noise
        towards = self._towards(anchor, [] if anchor is None else [anchor.drafts_at(cells)])
        return kernels.sample(self.tensor, rows, cells, distribution, source.seed, source.stream, **towards)

    def _sampled_together(
        self, kernels: "SampleKernels", wanted: Sequence[Wanted], distribution: Distribution
    ) -> Tokens:
        """Sample rows of several decodes, each by its own noise, from one tensor."""
        counts = [len(one.rows) for one in wanted]
        drafts = [one.anchor.drafts_at(one.cells) for one in wanted if one.anchor is not None]
        return kernels.sample(
            self.tensor,
            np.concatenate([one.rows for one in wanted]),
            np.concatenate([one.cells for one in wanted]),
            distribution,
            np.repeat(np.array([one.noise.seed for one in wanted], dtype=np.uint64), counts),
            np.repeat([one.noise.stream for one in wanted], counts),
            first_rows=np.repeat([one.first_row for one in wanted], counts),
            guided=wanted[0].batch > 1,
            **self._towards(wanted[0].anchor, drafts),
        )

    def _towards(self, anchor: Anchor | None, drafts: Sequence[Tokens]) -> dict[str, Any]:
        """Return what the kernels need of an anchor, with the draft tokens of all cells."""
        if anchor is None:
            return {}
        vectors = self.sampling.arrays.of(anchor.codes, _transposed)
        return {"drafts": np.concatenate(drafts), "strength": anchor.strength, "vectors": vectors}

    def _judged(
        self, rows: Tokens, distribution: Distribution, draft_tokens: Tokens, neighbours: Tokens
    ) -> NDArray[np.float32]:
        """Return pooled probabilities and entropies, Float32[2, n], which come to the host in one copy."""
        arrays = self.sampling.arrays
        judged = self.sampling.by_kernels(
            self.tensor,
            lambda kernels: kernels.judge(self.tensor, rows, distribution, draft_tokens, arrays.of(neighbours, _int32)),
        )
        if judged is not None:
            return judged
        logs = self._log_probs(rows, distribution)
        near = F.embedding(self.work.put(draft_tokens), arrays.of(neighbours))
        return host(torch.stack([logs.exp().gather(1, near).sum(dim=-1), entropy(logs)]))
