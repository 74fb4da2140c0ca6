"""What a graph of a bundle is: its module, its names, its dynamic ranges, and what its answer is compared as."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

Range = tuple[int, int, int]  # smallest, usual, largest
Kind = Literal["logits", "embeddings", "features", "pixels", "codes", "probabilities"]
# A plan's profile for a few tokens or rows holds as many: steps of several islands, and short windows.
FEW = 32


@dataclass(frozen=True)
class GraphSpecification:
    """One graph to build.

    Attributes:
        name: In the bundle.
        module: In float32; the builder casts it to the bundle's precision.
        example: Arguments of `forward` to trace with; a list of tensors is one argument.
        dynamic: Dynamic axes by argument.
        input_names: Flat names.
        output_names: Flat names.
        ranges: Range of every dynamic dimension.
        kind: What the compared output is, which decides the tolerance.
        compared: The output that is compared with the reference.
        weights: The name of its file of weights, where these are large; graphs of one model share a file.
        model_number: The transformer whose graph it is, 0 for the target; None for graphs of none.
        profiles: What plans are built for: ranges as above, of which the first that holds the shapes is taken; none
            are the graph's own ranges.
    """

    name: str
    module: nn.Module
    example: Mapping[str, Any]
    dynamic: Mapping[str, Mapping[int, str]]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    ranges: Mapping[str, Range]
    kind: Kind
    compared: str
    weights: str
    model_number: int | None = None
    profiles: tuple[Mapping[str, Range], ...] = ()

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Run the module in torch on flat inputs; return its outputs by name."""
        arguments: dict[str, Any] = {}
        for name, value in self.example.items():
            if isinstance(value, list):
                arguments[name] = [inputs[flat] for flat in self.input_names if flat not in self.example]
            else:
                arguments[name] = inputs[name]
        with torch.inference_mode():
            outputs = self.module(**arguments)
        listed = outputs if isinstance(outputs, tuple) else (outputs,)
        return dict(zip(self.output_names, listed, strict=True))
