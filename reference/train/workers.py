"""A worker among those that take a share of every batch each, by PyTorch's DistributedDataParallel."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mulo_sd.reference.train.devices import CPU


@dataclass(frozen=True)
class Workers:
    """This process among its fellows; rank 0 leads."""

    rank: int = 0
    count: int = 1
    device: torch.device = CPU

    def share(self, batch: int) -> range:
        """Return which images of a batch are this worker's."""
        return range(self.rank * batch // self.count, (self.rank + 1) * batch // self.count)

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a tensor over all workers; each gives its own."""
        if self.count > 1:
            value = value.clone()
            torch.distributed.all_reduce(value)
            value /= self.count
        return value

    def means(self, values: Sequence[float]) -> list[float]:
        """Return the means of numbers over all workers, the same in each."""
        if self.count == 1:
            return list(values)
        mean = self.mean(torch.tensor(values, dtype=torch.float64, device=self.device))
        return [float(value) for value in mean]

    def agreed(self, value: float) -> float:
        """Return the leading worker's number, so that all decide alike."""
        if self.count == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(shared, 0)
        return float(shared)

    def shared(self, module: nn.Module) -> nn.Module:
        """Return a module whose gradients are the means over all workers; alone, the module itself."""
        if self.count == 1:
            return module
        return DistributedDataParallel(module, device_ids=[self.device] if self.device.type == "cuda" else None)
