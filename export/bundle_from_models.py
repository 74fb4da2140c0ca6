"""Build a bundle from models: graphs, plans, comparison with the reference, manifest."""

import copy
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor, nn

from mulo_sd.engines.bundle.manifest import (
    MANIFEST_NAME,
    SCHEMA_VERSION,
    Family,
    FileEntry,
    GraphEntry,
    Manifest,
    PlanEntry,
    TransformerEntry,
)
from mulo_sd.engines.prompts.prefix import FIELDS, grammar_description
from mulo_sd.engines.settings import Settings
from mulo_sd.export.compare import ERROR_OF, Comparison, check_error, model_number, tolerance_of
from mulo_sd.export.comparison import Runner
from mulo_sd.export.evidence import Evidence
from mulo_sd.export.external_weights import ExternalWeights
from mulo_sd.export.finite_weights import check_weights
from mulo_sd.export.manifest import (
    file_entry,
    latent_hashes,
    reproducible_date,
    tensor_entries,
    tool_versions,
    transformer_entry,
    without_measurements,
)
from mulo_sd.export.memory import peak_bytes, release, start_stage
from mulo_sd.export.modules import write_other_modules, write_transformer
from mulo_sd.export.onnx_from_torch import onnx_from_torch
from mulo_sd.export.place import new_bundle
from mulo_sd.export.plans import PlanBackend, build_plan
from mulo_sd.export.precision import ACTIVATION_ROOM, TORCH_DTYPES, Precision
from mulo_sd.export.specification import GraphSpecification, model_names, specifications
from mulo_sd.reference.codebook import neighbours
from mulo_sd.reference.largest_error import check_finite_numbers
from mulo_sd.reference.models import Models
from mulo_sd.reference.weights import AnyModule, weights_sha256

MAX_NEIGHBOURS = 64


def neighbour_table(models: Models) -> Tensor:
    """Return the neighbours of every code, as the quantiser compares them, Int[V, MAX_NEIGHBOURS] (POOL-1)."""
    codebook = F.normalize(models.tokenizer.codebook, dim=-1)
    return neighbours(codebook, min(MAX_NEIGHBOURS, len(codebook)))


def _runner(onnx_file: Path) -> Runner:
    """Run a graph on ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # A few passes, of what may be a large model: no second copy of its weights, and no memory kept for later ones.
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.enable_cpu_mem_arena = False
    session = onnxruntime.InferenceSession(onnx_file, sess_options=options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        arrays = {name: np.ascontiguousarray(value.numpy()) for name, value in inputs.items()}
        in_place = {f"new_{name}": value for name, value in arrays.items() if f"new_{name}" in names}
        binding = session.io_binding()
        for name, value in arrays.items():
            if f"new_{name}" not in in_place:
                binding.bind_cpu_input(name, value)
        for output, value in in_place.items():  # keys and values are written where they are, as the engines do it
            place = ("cpu", 0, value.dtype, value.shape, value.ctypes.data)
            binding.bind_input(output.removeprefix("new_"), *place)
            binding.bind_output(output, *place)
        others = [name for name in names if name not in in_place]
        for name in others:
            binding.bind_output(name, "cpu")
        session.run_with_iobinding(binding)
        bound = [*in_place, *others]
        found = {name: item.numpy() for name, item in zip(bound, binding.get_outputs(), strict=True) if name in others}
        return {name: torch.from_numpy(value) for name, value in (found | in_place).items()}

    return run


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


class _Builder:
    """Builds graph after graph into one folder."""

    def __init__(
        self,
        folder: Path,
        precision: Precision,
        plan_backends: Sequence[PlanBackend],
        evidence: Evidence,
        family: Family,
    ) -> None:
        self.folder, self.precision = folder, precision
        self.weights = ExternalWeights(folder / "onnx")
        self.plan_backends, self.evidence, self.family = plan_backends, evidence, family
        self.warnings: list[str] = []

    def _plans(self, specification: GraphSpecification, onnx_file: Path, shapes: Mapping[str, Any]) -> list[PlanEntry]:
        plans = []
        for backend in self.plan_backends:
            decomposable = self.precision == "fp32" or not has_attention_kernel(specification)
            profiles = specification.profiles or (specification.ranges,)
            plan = build_plan(backend, onnx_file, shapes, profiles, decomposable)
            file = self.folder / "plans" / backend / f"{specification.name}.plan"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(plan.content)
            plans.append(
                PlanEntry(
                    backend=backend,
                    file=file_entry(self.folder, file),
                    build_seconds=round(plan.build_seconds, 2),
                    version=plan.version,
                    profiles=tuple(dict(profile) for profile in specification.profiles),
                )
            )
        return plans

    def build(self, specification: GraphSpecification) -> GraphEntry:
        """Export, compare and compile one graph.

        Raises:
            ToleranceError: it is too far from the reference.
            PlanError: TensorRT does not accept it.
            WeightsError: its weights are not finite, or the precision cannot hold them.
        """
        release()
        start_stage()
        dtype = TORCH_DTYPES[self.precision]
        if specification.kind == "logits":
            check_weights(specification.module, dtype, specification.name)
            # Before anything else takes memory: the reference keeps keys and values in float32 while it makes them.
            _ = self.evidence.passes[model_number(specification.name)]
            release()
        specification = replace(specification, module=cast_copy(specification.module, dtype))
        comparison = Comparison(specification, self.evidence, self.precision)
        errors = self._own_errors(comparison)
        release()
        started = time.perf_counter()
        model = onnx_from_torch(
            specification.module,
            specification.example,
            specification.dynamic,
            specification.input_names,
            specification.output_names,
        )
        onnx_file = self.folder / "onnx" / f"{specification.name}.onnx"
        self.weights.put(model, specification.weights)
        graph = save_onnx(model, onnx_file)
        del model
        specification = replace(specification, module=nn.Identity())
        comparison.drop_module()
        release()  # what the exporter leaves behind holds a copy of the weights in cycles
        build_seconds = time.perf_counter() - started
        activations = comparison.activations
        if activations is None or self.precision != "bf16":  # of which ONNX Runtime has no product on a CPU
            errors.append(comparison.error(_runner(onnx_file)))
        error = max(errors)
        check_error(specification, error, self.precision, self.family)
        release()
        inputs = tensor_entries(graph.input)
        plans = self._plans(specification, onnx_file, {item.name: item.shape for item in inputs})
        return GraphEntry(
            onnx=file_entry(self.folder, onnx_file),
            plans=tuple(plans),
            inputs=inputs,
            outputs=tensor_entries(graph.output),
            dynamic=dict(specification.ranges),
            build_seconds=round(build_seconds, 2),
            peak_bytes=peak_bytes(),
            measured_error=error,
            tolerance=tolerance_of(specification.kind, self.precision, self.family),
            error_of=ERROR_OF[specification.kind],
            largest_activation=None if activations is None else activations.largest,
            activation_limit=None if activations is None else activations.limit,
        )

    def _own_errors(self, comparison: Comparison) -> list[float]:
        """Return the error in the bundle's own arithmetic, of a graph that has that precision; warn near its limit.

        Raises:
            ToleranceError: it is too large, or an activation is.
        """
        activations, specification = comparison.activations, comparison.specification
        if activations is None:
            return []
        error = comparison.own_error()
        check_error(specification, error, self.precision, self.family)
        if activations.largest * ACTIVATION_ROOM > activations.limit:
            self.warnings.append(
                f"graph {specification.name}: its largest number on real inputs, {activations.largest:.4g} in "
                f"{activations.where}, is near {activations.limit:.5g}, the largest of {self.precision}: other prompts "
                f"may go beyond it"
            )
        return [error]


@contextmanager
def _progress(console: Console, total: int) -> Any:
    columns = (TextColumn("{task.description:20}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        yield progress, progress.add_task("", total=total)


def build_bundle(
    models: Models,
    evidence: Evidence,
    settings: Settings,
    out: Path,
    name: str,
    precision: Precision,
    plan_backends: Sequence[PlanBackend],
    force: bool,
    console: Console,
    all_filters: bool = False,
    family: Family = "demo",
    consume: bool = False,
    with_modules: bool = False,
) -> Manifest:
    """Build a bundle beside its place and rename it into place.

    Args:
        models: In float32.
        evidence: Real inputs for the comparison.
        settings: The bundle's decode settings.
        out: The bundle's folder.
        name: What the bundle calls itself.
        precision: Of weights, caches and passes.
        plan_backends: For which to build plans.
        force: Replace a bundle that is there.
        console: For progress.
        all_filters: Build samplers of every resize filter.
        family: Which models they are; the demo's take its prompt grammar.
        consume: Give up the weights of each transformer once its graphs are built: it is of no use afterwards.
        with_modules: Write the weights of all modules too, for the backend torch-cuda.

    Raises:
        BuildError: there is something that may not be replaced, or a bundle and `force` is not given.
        ToleranceError: a graph is too far from the reference.
        PlanError: TensorRT does not accept a graph.
        WeightsError: weights are not finite, or the precision cannot hold them.
    """
    date = reproducible_date()
    with new_bundle(out, force, partial(console.print, highlight=False, soft_wrap=True, markup=False)) as folder:
        listed = specifications(models, TORCH_DTYPES[precision], FIELDS, all_filters, evidence.ta_tok)
        for specification in listed:
            if specification.kind not in ("logits", "embeddings"):  # whose weights are read when their turn comes
                check_weights(specification.module, TORCH_DTYPES[precision], specification.name)
        builder = _Builder(folder, precision, plan_backends, evidence, family)
        graphs: dict[str, GraphEntry] = {}
        entries: list[TransformerEntry] = []
        modules: dict[str, FileEntry] = {}
        with _progress(console, len(listed)) as (progress, bar):
            for specification in listed:
                progress.update(bar, description=specification.name)
                graphs[specification.name] = builder.build(specification)
                progress.advance(bar)
                if specification.kind == "embeddings":  # the last graph of its transformer
                    number = len(entries)
                    model = models.transformer(number)
                    name_of_model = model_names(models)[number]
                    entries.append(transformer_entry(folder, name_of_model, model, FIELDS))
                    if with_modules:
                        modules[name_of_model] = write_transformer(
                            folder, name_of_model, model, TORCH_DTYPES[precision]
                        )
                    if consume:
                        model.to("meta")
        for warning in builder.warnings:
            console.print(f"warning: {warning}", soft_wrap=True, highlight=False)
        if with_modules:
            modules |= write_other_modules(folder, models, evidence.ta_tok, TORCH_DTYPES[precision])
        table = folder / "neighbours.npy"
        np.save(table, evidence.neighbours.numpy().astype(np.int64), allow_pickle=False)
        codes = folder / "codes.npy"
        vectors = check_finite_numbers(F.normalize(models.tokenizer.codebook, dim=-1), "codes")
        np.save(codes, vectors.numpy(), allow_pickle=False)
        grammar = folder / "prompt_grammar.json"
        if family == "demo":
            grammar.write_text(json.dumps(grammar_description(), indent=1) + "\n", encoding="utf-8")
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            name=name,
            family=family,
            precision=precision,
            created=(date or datetime.now(UTC)).isoformat(timespec="seconds"),
            tools=tool_versions(),
            token_pixels=models.tokenizer.config.factor,
            models=tuple(entries),
            tokenizer_sha256=weights_sha256(models.tokenizer),
            latent_sha256=latent_hashes(models),
            semantic_ids=evidence.ta_tok.config.codes if evidence.ta_tok else 0,
            ta_tok_sha256=weights_sha256(evidence.ta_tok) if evidence.ta_tok else None,
            graphs=graphs,
            codes=file_entry(folder, codes),
            code_dim=models.tokenizer.config.code_dim,
            neighbours=file_entry(folder, table),
            max_neighbours=evidence.neighbours.shape[1],
            prompt_grammar=file_entry(folder, grammar) if family == "demo" else None,
            weights=tuple(file_entry(folder, file) for file in builder.weights.files()),
            modules=modules,
            settings=settings,
        )
        written = manifest if date is None else without_measurements(manifest)
        (folder / MANIFEST_NAME).write_text(written.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return manifest
