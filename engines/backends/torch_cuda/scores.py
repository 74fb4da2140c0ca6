"""Logits that stay on the device: only tokens, pooled probabilities and entropies come to the host."""

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd.engines.backends.base import one_line
from mulo_sd.engines.backends.torch_cuda.noise import NoiseTables
from mulo_sd.engines.backends.torch_cuda.sampling import best_tokens, log_probs
from mulo_sd.engines.backends.torch_cuda.work import DeviceWork, host
from mulo_sd.engines.rules.anchor import Anchor
from mulo_sd.engines.rules.noise import NoiseSource
from mulo_sd.engines.scores import Floats, Tokens
from mulo_sd.engines.settings import Settings
from mulo_sd.reference.radius import entropy

if TYPE_CHECKING:
    from mulo_sd.engines.backends.torch_cuda.sample_launch import SampleKernels

Found = TypeVar("Found")
MAX_ARRAYS = 8


def _as_it_is(tensor: Tensor) -> Tensor:
    return tensor


def _int32(tensor: Tensor) -> Tensor:
    return tensor.int()


def _transposed(tensor: Tensor) -> Tensor:
    return tensor.t().float().contiguous()


class DeviceArrays:
    """Copies on the device of arrays that come again and do not change: neighbours, code vectors."""

    def __init__(self, work: DeviceWork) -> None:
        self.work = work
        # With the array itself: while it is held, no other has its id.
        self.held: OrderedDict[tuple[int, Any], tuple[NDArray[Any], Tensor]] = OrderedDict()

    def of(self, array: NDArray[Any], make: Callable[[Tensor], Tensor] = _as_it_is) -> Tensor:
        """Return an array's copy, or what is made of it."""
        key = id(array), make
        if key not in self.held:
            self.held[key] = array, make(self.work.put(array))
            if len(self.held) > MAX_ARRAYS:
                self.held.popitem(last=False)
        self.held.move_to_end(key)
        return self.held[key][1]


class Sampling:
    """What sampling needs beside logits, shared by all scores of a backend.

    Attributes:
        kernels: What samples and judges in one launch; None where torch's own operations do.
        notes: What went wrong and was done without.
    """

    def __init__(self, work: DeviceWork, notes: list[str] | None = None) -> None:
        self.work, self.noise, self.arrays = work, NoiseTables(work.device), DeviceArrays(work)
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
        except Exception as error:  # whatever a compiler says of settings that come for the first time
            self._do_without(f"{type(error).__name__}: {one_line(error)}")
            return None

    def bonus(self, anchor: Anchor, cells: Tokens) -> Tensor:
        """Return what is added to log p of cells, Float32[n, V] (ANCHOR-1)."""
        codes = self.arrays.of(anchor.codes)
        drafts = codes[self.work.put(anchor.draft_tokens[cells - anchor.first_cell])]
        return anchor.strength * (drafts @ codes.t())


def _is_run(numbers: Tokens) -> bool:
    """Whether ascending numbers follow one another without a gap."""
    return int(numbers[-1]) - int(numbers[0]) == len(numbers) - 1


class DeviceScores:
    """Logits of one pass, Float32[B, T, V], as `engines.scores.Scores` has them.

    They are a tensor of their own and outlive the next pass.
    """

    def __init__(self, sampling: Sampling, logits: Tensor) -> None:
        self.sampling, self.work, self.tensor = sampling, sampling.work, logits

    def part(self, first_row: int, batch: int, fed: int) -> "DeviceScores":
        """Return those of one of the decodes that shared a pass: its rows, and the tokens that it fed."""
        return DeviceScores(self.sampling, self.tensor[first_row : first_row + batch, :fed])

    def _of(self, rows: Tokens) -> Tensor:
        """Return [B, n, V]; consecutive rows without a copy."""
        if _is_run(rows):
            return self.tensor[:, int(rows[0]) : int(rows[-1]) + 1]
        return self.tensor[:, self.work.put(rows)]

    def _log_probs(self, rows: Tokens, settings: Settings, raw: bool = False) -> Tensor:
        logits = self._of(rows)
        if raw:
            return log_probs(logits, settings.guidance_scale)
        return log_probs(logits, settings.guidance_scale, settings.temperature, settings.top_k, settings.top_p)

    def logits(self) -> Floats:
        """Return all of them on the host."""
        with self.work.alone():
            return host(self.tensor)

    def last(self) -> "DeviceScores":
        """Return the last row's."""
        with self.work.alone():
            return DeviceScores(self.sampling, self.tensor[:, -1:].clone())

    def draw(self, rows: Tokens, settings: Settings, noise: Floats) -> tuple[Tokens, Floats]:
        """Sample by given noise."""
        with self.work.alone():
            found = self.sampling.by_kernels(
                self.tensor, lambda kernels: kernels.log_probs(self.tensor, rows, settings)
            )
            if found is None:
                found = self._log_probs(rows, settings)
            tokens = best_tokens(found + self.work.put(noise))
            return host(tokens), host(found)

    def sample(
        self, rows: Tokens, cells: Tokens, settings: Settings, noise: NoiseSource, anchor: Anchor | None
    ) -> Tokens:
        """Sample by the cells' own noise, which is made on the device."""
        cells = np.asarray(cells)
        with self.work.alone():
            tokens = self.sampling.by_kernels(
                self.tensor, lambda kernels: self._sampled(kernels, rows, cells, settings, noise, anchor)
            )
            if tokens is not None:
                return tokens
            found = self._log_probs(rows, settings)
            first, last = int(cells[0]), int(cells[-1])
            table = self.sampling.noise.of(noise).through(first, last)
            own = table[first : last + 1] if _is_run(cells) else table[self.work.put(cells)]
            if anchor is not None:
                own = own + self.sampling.bonus(anchor, cells)
            return host(best_tokens(found + own))

    def _sampled(
        self,
        kernels: "SampleKernels",
        rows: Tokens,
        cells: Tokens,
        settings: Settings,
        noise: NoiseSource,
        anchor: Anchor | None,
    ) -> Tokens:
        if anchor is None:
            return kernels.sample(self.tensor, rows, cells, settings, noise.seed, noise.stream)
        drafts, vectors = (
            anchor.draft_tokens[cells - anchor.first_cell],
            self.sampling.arrays.of(anchor.codes, _transposed),
        )
        towards = (drafts, anchor.strength, vectors)
        return kernels.sample(self.tensor, rows, cells, settings, noise.seed, noise.stream, *towards)

    def judge(
        self, rows: Tokens, settings: Settings, draft_tokens: Tokens, neighbours: Tokens, raw: bool
    ) -> tuple[Floats, Floats]:
        """Pool the target's probability around draft tokens; both answers come in one copy."""
        with self.work.alone():
            arrays = self.sampling.arrays
            judged = self.sampling.by_kernels(
                self.tensor,
                lambda kernels: kernels.judge(
                    self.tensor, rows, settings, draft_tokens, arrays.of(neighbours, _int32), raw
                ),
            )
            if judged is not None:
                return judged[0], judged[1]
            found = self._log_probs(rows, settings, raw)
            near = F.embedding(self.work.put(draft_tokens), arrays.of(neighbours))
            both = host(torch.stack([found.exp().gather(1, near).sum(dim=-1), entropy(found)]))
            return both[0], both[1]
