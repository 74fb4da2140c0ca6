"""Build a bundle from models: its graphs, its tables, its modules' weights, its manifest."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from torch import Tensor

from mulo_sd.engines.bundle.contract import (
    BLOCK,
    CAPTIONS_FILE,
    CODES_FILE,
    GRAMMAR_FILE,
    HEAD,
    MAX_NEIGHBOURS,
    NEIGHBOURS_FILE,
    TARGET_BRANCHED,
)
from mulo_sd.engines.bundle.entries import FileEntry, GraphEntry
from mulo_sd.engines.bundle.manifest import MANIFEST_NAME, SCHEMA_VERSION, Manifest, PassesEntry, TransformerEntry
from mulo_sd.engines.parts import MAX_NODES
from mulo_sd.engines.prompts.caption_ids import CaptionIds
from mulo_sd.engines.prompts.prefix import grammar_description
from mulo_sd.export.build_graph import GraphBuilder
from mulo_sd.export.finite_weights import check_weights
from mulo_sd.export.graphs.listing import specifications
from mulo_sd.export.graphs.specification import GraphSpecification
from mulo_sd.export.manifest import (
    branched_entry,
    file_entry,
    latent_hashes,
    passes_entry,
    reproducible_date,
    tool_versions,
    transformer_entry,
    without_measurements,
)
from mulo_sd.export.memory import short_collections
from mulo_sd.export.modules import write_head, write_other_modules, write_transformer
from mulo_sd.export.place import new_bundle
from mulo_sd.export.precision import TORCH_DTYPES
from mulo_sd.export.request import BuildRequest
from mulo_sd.reference.codebook import neighbours
from mulo_sd.reference.largest_error import check_finite_numbers
from mulo_sd.reference.models import Models
from mulo_sd.reference.weights import weights_sha256


@dataclass
class _Contents:
    """What was written into a bundle's folder so far, as its manifest describes it."""

    graphs: dict[str, GraphEntry] = field(default_factory=dict)
    transformers: dict[str, TransformerEntry] = field(default_factory=dict)
    head: PassesEntry | None = None
    modules: dict[str, FileEntry] = field(default_factory=dict)
    weights: tuple[FileEntry, ...] = ()


def neighbour_table(models: Models) -> Tensor:
    """Return the neighbours of every code, as the quantiser compares them, Int[V, MAX_NEIGHBOURS] (POOL-1)."""
    codebook = F.normalize(models.tokenizer.codebook, dim=-1)
    return neighbours(codebook, min(MAX_NEIGHBOURS, len(codebook)))


def build_bundle(request: BuildRequest, out: Path, force: bool, console: Console) -> Manifest:
    """Build a bundle beside its place and rename it into place.

    Args:
        request: What to build.
        out: The bundle's folder.
        force: Replace a bundle that is there.
        console: For progress and warnings.

    Returns:
        The manifest, with what this build measured of itself even where the file says none (SOURCE_DATE_EPOCH).

    Raises:
        BuildError: there is something that may not be replaced, or a bundle and `force` is not given.
        ToleranceError: a graph is too far from the reference.
        PlanError: TensorRT does not accept a graph.
        WeightsError: weights are not finite, or the precision cannot hold them.
    """
    date = reproducible_date()
    dtype, evidence = TORCH_DTYPES[request.precision], request.evidence
    with new_bundle(out, force, partial(console.print, highlight=False, soft_wrap=True, markup=False)) as folder:
        fields, filters = evidence.fields, request.all_filters
        listed = specifications(evidence.models, dtype, fields, filters, evidence.ta_tok, request.branched)
        _check_other_weights(listed, dtype)
        contents = _build_graphs(listed, folder, request, console)
        if request.with_modules:
            contents.modules |= write_other_modules(folder, evidence.models, evidence.ta_tok, dtype)
        manifest = _manifest(folder, request, contents, date or datetime.now(UTC))
        written = manifest if date is None else without_measurements(manifest)
        (folder / MANIFEST_NAME).write_text(written.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return manifest


def _check_other_weights(listed: Sequence[GraphSpecification], dtype: torch.dtype) -> None:
    """Check all weights but the transformers', which are read when their turn comes."""
    for specification in listed:
        if specification.kind not in ("logits", "embeddings"):
            check_weights(specification.module, dtype, specification.name)


def _build_graphs(
    listed: Sequence[GraphSpecification], folder: Path, request: BuildRequest, console: Console
) -> _Contents:
    """Build every graph, and what else is made of a transformer while its weights are in memory."""
    builder, contents = GraphBuilder(folder, request), _Contents()
    with _progress(console, len(listed)) as (progress, bar), short_collections() as pass_over:
        for specification in listed:
            progress.update(bar, description=specification.name)
            contents.graphs[specification.name] = builder.build(specification)
            if len(contents.graphs) == 1:
                pass_over()  # the first export has loaded as much again as all imports
            progress.advance(bar)
            if specification.name == HEAD:
                _finish_head(folder, request, contents)
            if specification.kind == "embeddings":  # the last graph of its transformer
                _finish_transformer(specification, folder, request, contents)
    for warning in builder.warnings:
        console.print(f"warning: {warning}", soft_wrap=True, highlight=False)
    contents.weights = tuple(file_entry(folder, file) for file in builder.weights.files())
    return contents


def _finish_transformer(
    specification: GraphSpecification, folder: Path, request: BuildRequest, contents: _Contents
) -> None:
    """Describe a transformer, write its weights if they are asked for, and give them up if they may be."""
    model, name = request.evidence.conditioned(specification), specification.weights
    contents.transformers[name] = transformer_entry(folder, name, model, request.evidence.fields)
    if request.with_modules:
        contents.modules[name] = write_transformer(folder, name, model, TORCH_DTYPES[request.precision])
    if request.consume:
        model.to("meta")


def _finish_head(folder: Path, request: BuildRequest, contents: _Contents) -> None:
    """Describe the head, and write its weights if they are asked for."""
    head = request.evidence.models.head
    if head is None:
        raise ValueError("evidence: expected a head for its graph, got none")
    contents.head = passes_entry(HEAD, head.config, head, MAX_NODES)
    if request.with_modules:
        contents.modules[HEAD] = write_head(folder, head, TORCH_DTYPES[request.precision])


def _manifest(folder: Path, request: BuildRequest, contents: _Contents, date: datetime) -> Manifest:
    """Write the tables; return the manifest of all that is in the folder then."""
    models, ta_tok = request.evidence.models, request.evidence.ta_tok
    transformers = dict(contents.transformers)
    block, target = transformers.pop(BLOCK, None), next(iter(transformers.values()))
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=request.name,
        family=request.family,
        precision=request.precision,
        created=date.isoformat(timespec="seconds"),
        tools=tool_versions(),
        token_pixels=models.tokenizer.config.factor,
        models=tuple(transformers.values()),
        branched=branched_entry(target) if TARGET_BRANCHED in contents.graphs else None,
        head=contents.head,
        block=block,
        tokenizer_sha256=weights_sha256(models.tokenizer),
        latent_sha256=latent_hashes(models),
        semantic_ids=ta_tok.config.codes if ta_tok else 0,
        ta_tok_sha256=weights_sha256(ta_tok) if ta_tok else None,
        graphs=contents.graphs,
        codes=_write_codes(folder, models),
        code_dim=models.tokenizer.config.code_dim,
        neighbours=_write_neighbours(folder, request.evidence.neighbours),
        max_neighbours=request.evidence.neighbours.shape[1],
        prompt_grammar=_write_grammar(folder) if request.family == "demo" else None,
        captions=_write_captions(folder, request.captions) if request.captions else None,
        example_prompts=request.example_prompts,
        weights=contents.weights,
        modules=contents.modules,
        settings=request.settings,
        presets=dict(request.presets),
    )


def _write_codes(folder: Path, models: Models) -> FileEntry:
    vectors = check_finite_numbers(F.normalize(models.tokenizer.codebook, dim=-1), "codes")
    np.save(folder / CODES_FILE, vectors.numpy(), allow_pickle=False)
    return file_entry(folder, folder / CODES_FILE)


def _write_neighbours(folder: Path, table: Tensor) -> FileEntry:
    np.save(folder / NEIGHBOURS_FILE, table.numpy().astype(np.int64), allow_pickle=False)
    return file_entry(folder, folder / NEIGHBOURS_FILE)


def _write_grammar(folder: Path) -> FileEntry:
    text = json.dumps(grammar_description(), indent=1) + "\n"
    (folder / GRAMMAR_FILE).write_text(text, encoding="utf-8")
    return file_entry(folder, folder / GRAMMAR_FILE)


def _write_captions(folder: Path, captions: CaptionIds) -> FileEntry:
    captions.save(folder / CAPTIONS_FILE)
    return file_entry(folder, folder / CAPTIONS_FILE)


@contextmanager
def _progress(console: Console, total: int) -> Iterator[tuple[Progress, TaskID]]:
    columns = (TextColumn("{task.description:20}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        yield progress, progress.add_task("", total=total)
