"""Build one graph of a bundle: check its weights, export it, compare it with the reference, compile its plans."""

import copy
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import onnx_ir
import torch
from torch import nn

from mulo_sd.engines.bundle.entries import GraphEntry, PlanEntry, TensorEntry
from mulo_sd.export.compare import ERROR_OF, Comparison, check_error, tolerance_of
from mulo_sd.export.external_weights import ExternalWeights
from mulo_sd.export.finite_weights import check_weights
from mulo_sd.export.graphs.specification import GraphSpecification
from mulo_sd.export.manifest import file_entry, tensor_entries
from mulo_sd.export.memory import peak_bytes, release, start_stage, weight_bytes
from mulo_sd.export.onnx_from_torch import onnx_from_torch
from mulo_sd.export.onnx_runner import onnx_runner
from mulo_sd.export.plans import build_plan
from mulo_sd.export.precision import ACTIVATION_ROOM, TORCH_DTYPES
from mulo_sd.export.request import BuildRequest
from mulo_sd.reference.weights import AnyModule


def save_onnx(model: onnx_ir.Model, file: Path) -> onnx.GraphProto:
    """Write and check a graph whose large weights lie in files beside it; return it without those."""
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx_ir.save(model, file)
    onnx.checker.check_model(file)
    return onnx.load_model(file, load_external_data=False).graph


def cast_copy(module: AnyModule, dtype: torch.dtype) -> AnyModule:
    """Return a copy of a module in another precision; no second copy in the old one is made on the way."""
    memo: dict[int, Any] = {}
    for parameter in module.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to(dtype), requires_grad=False)
    for buffer in module.buffers():
        memo[id(buffer)] = buffer.to(dtype) if buffer.is_floating_point() else buffer.clone()
    return copy.deepcopy(module, memo)


def has_attention_kernel(specification: GraphSpecification) -> bool:
    """Whether TensorRT has a fused kernel for a graph's attention in half precision: not for a head of 100 or 512."""
    caches = specification.example.get("caches")
    return caches is not None and int(caches[0].shape[-1]) % 8 == 0


class GraphBuilder:
    """Builds graph after graph into a bundle's folder.

    Attributes:
        weights: The files of weights that large graphs share.
        warnings: A line for each graph whose numbers come near the largest of its precision.
    """

    def __init__(self, folder: Path, request: BuildRequest) -> None:
        """Take a bundle's folder and what is to be in it."""
        self.folder, self.request = folder, request
        self.dtype = TORCH_DTYPES[request.precision]
        self.weights = ExternalWeights(folder / "onnx")
        self.warnings: list[str] = []

    def build(self, specification: GraphSpecification) -> GraphEntry:
        """Export, compare and compile one graph.

        Args:
            specification: Its module is in float32, and is not changed.

        Returns:
            The manifest's entry; the files lie in the bundle's folder.

        Raises:
            ToleranceError: it is too far from the reference.
            PlanError: TensorRT does not accept it.
            WeightsError: its weights are not finite, or the precision cannot hold them.
        """
        held = weight_bytes(specification.module)
        release(held)
        start_stage()
        request = self.request
        self._prepare_reference(specification)
        specification = replace(specification, module=cast_copy(specification.module, self.dtype))
        comparison = Comparison(specification, request.evidence, request.precision)
        errors = self._own_errors(comparison)
        release(held)
        started = time.perf_counter()
        onnx_file = self.folder / "onnx" / f"{specification.name}.onnx"
        graph = self._export(specification, onnx_file)
        # The runtime loads the weights once more: none in torch beside them.
        specification = replace(specification, module=nn.Identity())
        comparison.drop_module()
        release(held)  # what the exporter leaves behind holds a copy of the weights in cycles
        build_seconds = time.perf_counter() - started
        activations = comparison.activations
        if activations is None or request.precision != "bf16":  # ONNX Runtime has no product of bfloat16 on a CPU
            errors.append(comparison.error(onnx_runner(onnx_file)))
        error = max(errors)
        check_error(specification, error, request.precision, request.family)
        release(held)
        inputs = tensor_entries(graph.input)
        plans = self._plans(specification, onnx_file, inputs)
        return GraphEntry(
            onnx=file_entry(self.folder, onnx_file),
            plans=plans,
            inputs=inputs,
            outputs=tensor_entries(graph.output),
            dynamic=dict(specification.ranges),
            build_seconds=round(build_seconds, 2),
            peak_bytes=peak_bytes(),
            measured_error=error,
            tolerance=tolerance_of(specification.kind, request.precision, request.family),
            error_of=ERROR_OF[specification.kind],
            largest_activation=None if activations is None else activations.largest,
            activation_limit=None if activations is None else activations.limit,
        )

    def _prepare_reference(self, specification: GraphSpecification) -> None:
        """Check a transformer's weights and run its passes, before anything else takes memory.

        The reference keeps keys and values in float32 while it makes the passes. Weights of other graphs are checked
        before the first graph is built.
        """
        if specification.kind != "logits":
            return
        check_weights(specification.module, self.dtype, specification.name)
        _ = self.request.evidence.recorded(specification)
        release(weight_bytes(specification.module))

    def _own_errors(self, comparison: Comparison) -> list[float]:
        """Return the error in the bundle's own arithmetic, of a graph that has that precision; warn near its limit.

        Raises:
            ToleranceError: it is too large, or an activation is.
        """
        activations, specification = comparison.activations, comparison.specification
        if activations is None:
            return []
        error = comparison.own_error()
        check_error(specification, error, self.request.precision, self.request.family)
        if activations.largest * ACTIVATION_ROOM > activations.limit:
            self.warnings.append(
                f"graph {specification.name}: its largest number on real inputs, {activations.largest:.4g} in "
                f"{activations.where}, is near {activations.limit:.5g}, the largest of {self.request.precision}: other "
                f"prompts may go beyond it"
            )
        return [error]

    def _export(self, specification: GraphSpecification, onnx_file: Path) -> onnx.GraphProto:
        """Write a graph's ONNX file, and its weights beside it where they are large."""
        model = onnx_from_torch(specification)
        self.weights.put(model, specification.weights)
        return save_onnx(model, onnx_file)

    def _plans(
        self, specification: GraphSpecification, onnx_file: Path, inputs: Sequence[TensorEntry]
    ) -> tuple[PlanEntry, ...]:
        """Compile and write a graph's plans, one for every runtime of the request."""
        plans = []
        shapes = {item.name: item.shape for item in inputs}
        decomposable = self.request.precision == "fp32" or not has_attention_kernel(specification)
        profiles = specification.profiles or (specification.ranges,)
        for backend in self.request.plan_backends:
            targets = self.request.compute_capabilities
            plan = build_plan(backend, onnx_file, shapes, profiles, decomposable, targets)
            file = self.folder / "plans" / backend / f"{specification.name}.plan"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(plan.content)
            plans.append(
                PlanEntry(
                    backend=backend,
                    file=file_entry(self.folder, file),
                    build_seconds=round(plan.build_seconds, 2),
                    version=plan.version,
                    compatibility=plan.compatibility,
                    profiles=tuple(dict(profile) for profile in specification.profiles),
                )
            )
        return tuple(plans)
