"""A bundle's contract: what is built and what runs it follow the same names and sizes."""

import ast
from pathlib import Path
from typing import get_args

import pytest
import torch

from mulo_sd.engines.backends.torch_cuda.stateless import stateless_graphs
from mulo_sd.engines.bundle import contract, open_bundle
from mulo_sd.engines.bundle.manifest import MANIFEST_NAME
from mulo_sd.engines.parts import MAX_NODES
from mulo_sd.engines.prompts.prefix import FIELDS
from mulo_sd.export.graphs.listing import specifications
from mulo_sd.processes import ROOT
from mulo_sd.reference import minimal
from mulo_sd.reference.weights import weights_sha256

# Each is the name of one thing in a bundle, and stands in the contract alone.
NAMES = (
    *(contract.CODES_FILE, contract.NEIGHBOURS_FILE, contract.GRAMMAR_FILE, contract.CAPTIONS_FILE),
    *(contract.SEMANTIC_FEATURES, "_condition", "_null_condition.npy", "drafter_", "up_sampler_", "down_sampler_"),
    contract.PLAN_PACKAGES["trt-rtx"],
)
FOLDERS = ("engines", "export")


def literals(folder: str) -> dict[str, list[str]]:
    """Return the texts in the code of a folder, the parts of f-strings too, by the files that hold them."""
    texts: dict[str, list[str]] = {}
    for path in Path(ROOT, folder).rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts[path.relative_to(ROOT).as_posix()] = [
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
    return texts


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_written_once(name: str) -> None:
    """No other file of the builder or the engines spells it."""
    files = [file for folder in FOLDERS for file, texts in literals(folder).items() if name in texts]
    assert files == ["engines/bundle/contract.py"]


def test_graphs_are_named_alike() -> None:
    """The graphs that are exported and those that torch-cuda makes of the same models; transformers aside."""
    models = minimal.load()
    exported = {item.name for item in specifications(models, torch.float32, FIELDS, all_filters=True)}
    made = stateless_graphs(models, None, torch.float32, torch.device("cpu"))
    beside = (contract.TARGET_BRANCHED, contract.HEAD, contract.BLOCK)
    assert exported == {*made, *contract.model_names(len(models.drafters)), *beside}


def test_what_there_is_beside_the_models(minimal_bundle: Path) -> None:
    """The target once more with room for nodes, a head with as much, a block drafter with a code for the mask."""
    manifest, models = open_bundle(minimal_bundle).manifest, minimal.load()
    branched, head, block = manifest.branched, manifest.head, manifest.block
    assert branched == manifest.target.model_copy(
        update={"graph": contract.TARGET_BRANCHED, "slots": manifest.target.slots + MAX_NODES}
    )
    assert head is not None
    assert models.head is not None
    assert (head.graph, head.slots) == (contract.HEAD, contract.slot_count(models.head.config, MAX_NODES))
    assert head.weights_sha256 == weights_sha256(models.head)
    assert block is not None
    assert (block.graph, block.vocabulary) == (contract.BLOCK, manifest.target.vocabulary + 1)
    with_hidden = {name for name, graph in manifest.graphs.items() if graph.has_hidden}
    assert with_hidden == set(contract.GRAPHS_WITH_HIDDEN)
    for name in with_hidden:
        inputs = [item.name for item in manifest.graphs[name].inputs]
        assert {"branches", "slot_branches"} <= set(inputs)
    assert not {"branches", "slot_branches"} & {item.name for item in manifest.graphs["target"].inputs}


def test_a_bundle_follows_the_contract(minimal_bundle: Path) -> None:
    """Slots, widths of heads, names of models, of their graphs and of their keys and values."""
    manifest, models = open_bundle(minimal_bundle).manifest, minimal.load()
    assert [entry.graph for entry in manifest.models] == contract.model_names(len(models.drafters))
    for number, entry in enumerate(manifest.models):
        config, graph = models.transformer(number).config, manifest.graphs[entry.graph]
        assert entry.condition_graph == contract.condition_graph(entry.graph)
        assert entry.slots == contract.slot_count(config)
        assert entry.head_dim == contract.cache_head_dim(config.head_dim) >= config.head_dim
        caches = contract.cache_names(entry.layers)
        assert [tensor.name for tensor in graph.cache_inputs] == caches
        assert [tensor.name for tensor in graph.outputs][1:] == [contract.updated_cache(name) for name in caches]
    assert {contract.DECODER, contract.SAMPLER, contract.ACCEPTANCE} <= manifest.graphs.keys()
    files = {path.name for path in minimal_bundle.iterdir() if path.is_file()}
    assert files == {MANIFEST_NAME, contract.CODES_FILE, contract.NEIGHBOURS_FILE, contract.GRAMMAR_FILE}


@pytest.mark.parametrize(("head_dim", "width"), [(1, 8), (8, 8), (64, 64), (100, 104)])
def test_heads_are_padded_to_eights(head_dim: int, width: int) -> None:
    assert contract.cache_head_dim(head_dim) == width


def test_every_plan_backend_has_a_package() -> None:
    assert tuple(contract.PLAN_PACKAGES) == get_args(contract.PlanBackend)
    assert set(contract.PUBLISHED_FAMILIES) == set(get_args(contract.Family)) - {"demo", "captioned"}
