"""Logits that stay on the device: only tokens, pooled probabilities and entropies come to the host."""

from collections import OrderedDict
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engines.anchor import Anchor
from engines.backends.torch_cuda.noise import NoiseTables
from engines.backends.torch_cuda.sampling import log_probs
from engines.backends.torch_cuda.work import DeviceWork, host
from engines.noise import NoiseSource
from engines.scores import Floats, Tokens
from engines.settings import Settings
from reference.radius import entropy

MOST_ARRAYS = 8


class DeviceArrays:
    """Copies on the device of arrays that come again and do not change: neighbours, code vectors."""

    def __init__(self, work: DeviceWork) -> None:
        self.work = work
        # With the array itself: while it is held, no other has its id.
        self.held: OrderedDict[int, tuple[NDArray[Any], Tensor]] = OrderedDict()

    def of(self, array: NDArray[Any]) -> Tensor:
        """Return an array's copy."""
        key = id(array)
        if key not in self.held:
            self.held[key] = array, self.work.put(array)
            if len(self.held) > MOST_ARRAYS:
                self.held.popitem(last=False)
        self.held.move_to_end(key)
        return self.held[key][1]


class Sampling:
    """What sampling needs beside logits, shared by all scores of a backend."""

    def __init__(self, work: DeviceWork) -> None:
        self.work, self.noise, self.arrays = work, NoiseTables(work.device), DeviceArrays(work)

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
            found = self._log_probs(rows, settings)
            tokens = (found + self.work.put(noise)).argmax(dim=-1)
            return host(tokens), host(found)

    def sample(
        self, rows: Tokens, cells: Tokens, settings: Settings, noise: NoiseSource, anchor: Anchor | None
    ) -> Tokens:
        """Sample by the cells' own noise, which is made on the device."""
        with self.work.alone():
            found, cells = self._log_probs(rows, settings), np.asarray(cells)
            first, last = int(cells[0]), int(cells[-1])
            table = self.sampling.noise.of(noise).through(first, last)
            own = table[first : last + 1] if _is_run(cells) else table[self.work.put(cells)]
            if anchor is not None:
                own = own + self.sampling.bonus(anchor, cells)
            return host((found + own).argmax(dim=-1))

    def judge(
        self, rows: Tokens, settings: Settings, draft_tokens: Tokens, neighbours: Tokens, raw: bool
    ) -> tuple[Floats, Floats]:
        """Pool the target's probability around draft tokens; both answers come in one copy."""
        with self.work.alone():
            found = self._log_probs(rows, settings, raw)
            near = F.embedding(self.work.put(draft_tokens), self.sampling.arrays.of(neighbours))
            both = host(torch.stack([found.exp().gather(1, near).sum(dim=-1), entropy(found)]))
            return both[0], both[1]
