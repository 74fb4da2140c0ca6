"""Run a graph's module in the arithmetic of its precision, and record how large its numbers become.

ONNX Runtime's CPU provider computes half precision in float32, so that an activation beyond float16's 65,504 shows
nowhere; on a GPU it is infinite. Here every operation's result is rounded to the bundle's precision. Products of
float16 are added up in float32 and rounded once, as tensor cores do it: PyTorch's own on the CPU differ in nothing but
the order of addition, and take a hundred times as long.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# Of these, float16 goes through float32 and is rounded once.
_PRODUCTS: frozenset[Any] = frozenset(
    (
        F.linear,
        F.conv2d,
        F.scaled_dot_product_attention,
        F.interpolate,
        F.avg_pool2d,
        torch.matmul,
        Tensor.matmul,
        Tensor.__matmul__,
    )
)


class ActivationError(ValueError):
    """An activation that its precision cannot hold; its message is one line that names the module."""


class Activations:
    """The largest number that any operation of a module gave, and where.

    Attributes:
        largest: In absolute value; 0 before anything ran.
        where: The module that gave it, by its path.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype, self.limit = dtype, float(torch.finfo(dtype).max)
        self.largest, self.where = 0.0, ""

    def record(self, value: Tensor, where: str) -> None:
        """Record an operation's result.

        Raises:
            ActivationError: it holds NaN or infinity.
        """
        if value.dtype != self.dtype or not value.numel():
            return
        low, high = value.aminmax()
        most = max(-float(low), float(high)) if bool(low == low) else float("nan")
        if not most < float("inf"):
            broken = value.numel() - int(torch.isfinite(value).sum())
            raise ActivationError(
                f"{where} gives {broken} of {value.numel()} numbers beyond {self.limit:.5g}, the largest of "
                f"{str(self.dtype).removeprefix('torch.')}"
            )
        if most > self.largest:
            self.largest, self.where = most, where


class _Watch(TorchFunctionMode):
    """Records the result of every operation in the bundle's precision."""

    def __init__(self, activations: Activations) -> None:
        super().__init__()
        self.activations, self.path = activations, ["the graph"]

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation, in float32 where it is a product of float16, and record its result."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            query, key = args[:2]
            self._record_scores(query, key, kwargs.get("scale"))
        half = self.activations.dtype == torch.float16
        result = _through_float32(func, args, kwargs) if half and func in _PRODUCTS else func(*args, **kwargs)
        if isinstance(result, Tensor) and result.dtype == self.activations.dtype and not _shares(result, args):
            self.activations.record(result, f"{self.path[-1]} ({getattr(func, '__name__', 'an operation')})")
        return result

    def _record_scores(self, query: Tensor, key: Tensor, scale: float | None) -> None:
        """Record attention's scores, which a runtime without a fused kernel keeps in the graph's precision."""
        factor = scale or query.shape[-1] ** -0.5
        scores = (query.float() * factor) @ key.float().transpose(-1, -2)
        self.activations.record(scores.to(self.activations.dtype), f"{self.path[-1]} (attention scores)")


def _through_float32(func: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Any:
    def wide(value: Any) -> Any:
        return value.float() if isinstance(value, Tensor) and value.dtype == torch.float16 else value

    dtypes = {value.dtype for value in (*args, *kwargs.values()) if isinstance(value, Tensor)}
    result = func(*map(wide, args), **{name: wide(value) for name, value in kwargs.items()})
    return result.half() if torch.float16 in dtypes else result


def _shares(result: Tensor, args: Any) -> bool:
    """Whether a result is another view of an argument, which has been seen already."""
    own = result.untyped_storage().data_ptr()
    return any(isinstance(value, Tensor) and value.untyped_storage().data_ptr() == own for value in args)


def graph_path(name: str) -> str:
    """Return the path of a part of a graph's module as its checkpoint has it: without the graph's own field."""
    return name.partition(".")[2] or name


@contextmanager
def _named(module: nn.Module, path: list[str]) -> Iterator[None]:
    """Keep the path of the module that is running on top of `path`."""
    hooks = []
    for name, part in module.named_modules():
        if not name:
            continue

        def enter(_part: nn.Module, _inputs: Any, name: str = name) -> None:
            path.append(graph_path(name))

        def leave(_part: nn.Module, _inputs: Any, _outputs: Any) -> None:
            path.pop()

        hooks += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def watched(module: nn.Module, activations: Activations) -> Iterator[None]:
    """Run the block in the arithmetic of the bundle's precision, and record how large a module's numbers become.

    Args:
        module: Of a graph, in that precision already.
        activations: Where they are recorded.

    Raises:
        ActivationError: an operation gives NaN or infinity.
    """
    watch = _Watch(activations)
    with _named(module, watch.path), watch:
        yield
