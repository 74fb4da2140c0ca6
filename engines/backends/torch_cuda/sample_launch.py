"""Launches the kernels of sampling and acceptance: a request goes in one copy, its result comes in one."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mulo_sd.engines.backends.torch_cuda.kernels import sample as sample_kernels
from mulo_sd.engines.backends.torch_cuda.work import DeviceWork
from mulo_sd.engines.distribution import Distribution

HEADER, ROW = sample_kernels.HEADER, sample_kernels.ROW
# A row of more codes does not fit into a program's registers.
MAX_CODES = 16384
# Codes that are compared by exact noise at once, and how near in nats a second one calls for it: rough noise errs by
# less than 1e-4, and what float32 rounds is less by far.
CHUNK, NEAR = 2048, 1e-3


def _power_of_two(count: int) -> int:
    """Return the next power of two."""
    return 1 << max(0, count - 1).bit_length()


class _Buffers:
    """A request and its result, on the host and on the device, for up to so many rows."""

    def __init__(self, rows: int, device: torch.device) -> None:
        pinned = device.type == "cuda"
        self.rows = rows
        with torch.inference_mode(False):  # a tensor made there could be written nowhere else
            self.request = torch.zeros(HEADER + ROW * rows, dtype=torch.int32, device=device)
            self.request_on_host = torch.zeros(HEADER + ROW * rows, dtype=torch.int32, pin_memory=pinned)
            self.result = torch.zeros(2 * rows, dtype=torch.int32, device=device)
            self.result_on_host = torch.zeros(2 * rows, dtype=torch.int32, pin_memory=pinned)
        self.numbers: NDArray[np.int32] = self.request_on_host.numpy()
        self.words: NDArray[np.uint32] = self.numbers.view(np.uint32)
        self.floats: NDArray[np.float32] = self.numbers.view(np.float32)
        self.answers: NDArray[np.int32] = self.result_on_host.numpy()


class SampleKernels:
    """The kernels on one device; one call at a time, which waits for its result."""

    def __init__(self, work: DeviceWork) -> None:
        self.work, self.device = work, work.device
        self.buffers = _Buffers(64, self.device)
        self.nothing = torch.zeros(1, dtype=torch.float32, device=self.device)
        self.no_neighbours = torch.zeros(1, dtype=torch.int32, device=self.device)
        self.near = NEAR

    def takes(self, logits: Tensor) -> bool:
        """Whether logits, Float[B, T, V], are such as the kernels take."""
        return logits.shape[-1] <= MAX_CODES and logits.stride(-1) == 1

    def _request(self, rows: NDArray[np.int64], distribution: Distribution) -> _Buffers:
        """Return buffers in which stand rows and distribution."""
        count = len(rows)
        if count > self.buffers.rows:
            self.buffers = _Buffers(_power_of_two(count), self.device)
        buffers = self.buffers
        numbers, floats = buffers.numbers, buffers.floats
        floats[0], floats[1] = distribution.guidance_scale, distribution.temperature
        numbers[2], floats[3] = distribution.top_k, distribution.top_p
        numbers[HEADER : HEADER + ROW * count : ROW] = rows
        numbers[HEADER + 3 : HEADER + ROW * count : ROW] = 0
        return buffers

    @staticmethod
    def _flags(logits: Tensor, distribution: Distribution) -> dict[str, Any]:
        """Return what kernels are compiled for."""
        codes = logits.shape[-1]
        block = max(64, _power_of_two(codes))
        greedy = distribution.temperature == 0
        filters = not greedy
        return {
            "vocabulary": codes,
            "block": block,
            "guided": len(logits) > 1,
            "heated": filters and distribution.temperature != 1,
            "greedy": greedy,
            "by_rank": filters and 0 < distribution.top_k < codes,
            "by_weight": filters and distribution.top_p < 1,
            "num_warps": min(16, max(1, block // 512)),
            # Rounded as torch's own operations round.
            "enable_fp_fusion": False,
        }

    def _send(self, buffers: _Buffers, count: int) -> None:
        length = HEADER + ROW * count
        buffers.request[:length].copy_(buffers.request_on_host[:length], non_blocking=True)

    def _receive(self, buffers: _Buffers, length: int) -> NDArray[np.int32]:
        buffers.result_on_host[:length].copy_(buffers.result[:length], non_blocking=True)
        if self.work.stream is not None:
            self.work.stream.synchronize()
        return buffers.answers[:length]

    def sample(
        self,
        logits: Tensor,
        rows: NDArray[np.int64],
        cells: NDArray[np.int64],
        distribution: Distribution,
        seed: int | NDArray[np.uint64],
        stream: int | NDArray[np.int64],
        drafts: NDArray[np.int64] | None = None,
        strength: float = 0.0,
        vectors: Tensor | None = None,
        first_rows: int | NDArray[np.int64] = 0,
        guided: bool | None = None,
    ) -> NDArray[np.int64]:
        """Sample one token a row, Int[n].

        Args:
            logits: Float[B, T, V].
            rows: Int[n].
            cells: Int[n].
            distribution: What p is (DIST-1).
            seed: 0..2^64 - 1; of all, or UInt64[n].
            stream: RNG-2; of all, or Int[n].
            drafts: Int[n], the cells' draft tokens, where there is an anchor.
            strength: The anchor's.
            vectors: Float32[d, V], its codes.
            first_rows: Of the batch, where each image's conditional half lies; of all, or Int[n].
            guided: Whether the row behind it is the other half; None: B is 2.
        """
        count, buffers = len(rows), self._request(rows, distribution)
        words, last = buffers.words, HEADER + ROW * count
        words[HEADER + 4 : last : ROW], words[HEADER + 5 : last : ROW] = seed % 2**32, seed // 2**32
        words[HEADER + 6 : last : ROW] = stream
        buffers.numbers[HEADER + 1 : last : ROW], buffers.numbers[HEADER + 3 : last : ROW] = cells, first_rows
        width = 0
        if drafts is not None and vectors is not None:
            buffers.floats[4] = strength
            buffers.numbers[HEADER + 2 : last : ROW] = drafts
            width = len(vectors)
        self._send(buffers, count)
        flags = self._flags(logits, distribution)
        flags["guided"] = flags["guided"] if guided is None else guided
        sample_kernels.sample_kernel[(count,)](
            logits,
            buffers.request,
            self.nothing if vectors is None else vectors,
            buffers.result,
            *logits.stride()[:2],
            width=width,
            chunk=min(CHUNK, flags["block"]),
            near=self.near,
            **flags,
        )
        return self._receive(buffers, count).astype(np.int64)

    def judge(
        self,
        logits: Tensor,
        rows: NDArray[np.int64],
        distribution: Distribution,
        drafts: NDArray[np.int64],
        neighbours: Tensor,
    ) -> NDArray[np.float32]:
        """Return pooled probabilities around draft tokens, and entropies, Float32[2, n].

        Args:
            logits: Float[B, T, V].
            rows: Int[n].
            distribution: What p is (DIST-1).
            drafts: Int[n].
            neighbours: Int32[V, k].
        """
        count, buffers = len(rows), self._request(rows, distribution)
        buffers.numbers[HEADER + 2 : HEADER + ROW * count : ROW] = drafts
        self._send(buffers, count)
        pooled = neighbours.shape[1]
        sample_kernels.judge_kernel[(count,)](
            logits,
            buffers.request,
            neighbours,
            buffers.result.view(torch.float32),
            self.nothing,
            *logits.stride()[:2],
            pooled=pooled,
            pooled_block=_power_of_two(pooled),
            **self._flags(logits, distribution),
        )
        return self._receive(buffers, 2 * count).view(np.float32).reshape(2, count).copy()

    def log_probs(self, logits: Tensor, rows: NDArray[np.int64], distribution: Distribution) -> Tensor:
        """Return log p, Float32[n, V], on the device; whoever asks waits for it before another call.

        Args:
            logits: Float[B, T, V].
            rows: Int[n].
            distribution: What p is (DIST-1).
        """
        count, buffers = len(rows), self._request(rows, distribution)
        self._send(buffers, count)
        logs = torch.empty(count, logits.shape[-1], dtype=torch.float32, device=self.device)
        sample_kernels.judge_kernel[(count,)](
            logits,
            buffers.request,
            self.no_neighbours,
            self.nothing,
            logs,
            *logits.stride()[:2],
            pooled=0,
            pooled_block=1,
            **self._flags(logits, distribution),
        )
        return logs
