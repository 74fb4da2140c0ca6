"""What all comparisons of a graph with the reference share: how a graph runs, its outputs, and the error raised."""

from collections.abc import Callable, Mapping

from torch import Tensor

from mulo_sd.export.graphs.specification import GraphSpecification
from mulo_sd.reference.largest_error import check_finite_numbers

# Flat inputs to outputs by name; a graph in any runtime.
Runner = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
# Of which minus infinity is a legitimate value: a code that is not kept.
LOG_PROBS = "log_probs"


class ToleranceError(ValueError):
    """A graph that is too far from the reference; its message names the graph, the tensor and the distance."""


def outputs_of(run: Runner, specification: GraphSpecification, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Run a graph once; all that it gives is finite, keys and values included.

    Raises:
        NotFiniteError: an output holds NaN or infinity; log-probabilities may be minus infinity.
        ToleranceError: an output is missing.
    """
    outputs = run(inputs)
    for name in specification.output_names:
        if name not in outputs:
            raise ToleranceError(f"output {name}: expected one, got none")
        value = outputs[name]
        if name == LOG_PROBS:
            value = value.masked_fill(value == float("-inf"), 0.0)
        check_finite_numbers(value, f"output {name}")
    return outputs
