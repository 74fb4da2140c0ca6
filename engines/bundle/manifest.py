"""The manifest's schema: the name, shape, type, size and hash of everything in a bundle."""

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mulo_sd.engines.bundle.contract import (
    BLOCK,
    GRAPHS_WITH_HIDDEN,
    HEAD,
    SLOTS_DIMENSION,
    TARGET_BRANCHED,
    ConditionKind,
    Family,
    Precision,
    down_sampler_graph,
    up_sampler_graph,
)
from mulo_sd.engines.bundle.entries import Entry, FileEntry, GraphEntry, Positive, Sha256, Words
from mulo_sd.engines.parts import MAX_NODES
from mulo_sd.engines.setting_kinds import MAX_DRAFTERS
from mulo_sd.engines.settings import Settings
from mulo_sd.engines.text import MAX_CAPTION_CHARACTERS

SCHEMA_VERSION: Literal[4] = 4
MANIFEST_NAME = "manifest.json"
MAX_MANIFEST_BYTES = 4 * 2**20
# What stands behind --preset, and beside settings in a line.
PresetName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
MAX_PRESETS = 64
# Captions in a line each.
ExamplePrompt = Annotated[str, Field(pattern=rf"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]{{1,{MAX_CAPTION_CHARACTERS}}}$")]
MAX_EXAMPLES = 16


class BundleError(ValueError):
    """A bundle that cannot be used; the message is one line for the user and names the file."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))  # names in a file from outside may hold line ends


class PassesEntry(Entry):
    """The properties of a graph over a cache, whose passes the loop makes."""

    graph: str
    grid_height: Positive
    grid_width: Positive
    vocabulary: Positive
    prefix_length: Positive
    layers: Positive
    heads: Positive
    head_dim: Positive  # of keys and values in the cache: a multiple of 8
    dim: Positive
    slots: Positive
    weights_sha256: Sha256

    @property
    def sequence_length(self) -> int:
        """Prefix and cells."""
        return self.prefix_length + self.grid_height * self.grid_width

    @property
    def is_branched(self) -> bool:
        """Whether its tokens may stand on branches, and its passes give hidden states."""
        return self.graph in GRAPHS_WITH_HIDDEN


class TransformerEntry(PassesEntry):
    """The properties of the target or of a drafter that the loop needs."""

    condition_graph: str
    condition: ConditionKind
    condition_width: Positive  # ids or numbers a prefix token
    condition_ids: Annotated[int, Field(ge=0)]  # how many there are, where it is made of ids
    null_condition: FileEntry | None = None  # of [prefix_length, condition_width], what guidance takes for no condition


class Manifest(Entry):
    """A bundle's manifest."""

    schema_version: Literal[4]
    name: Words
    family: Family
    precision: Precision
    created: Annotated[str, Field(pattern=r"^[0-9A-Z:.+-]{0,40}$")]  # of ISO 8601; empty of a bundle in memory
    tools: dict[str, Words]
    token_pixels: Positive
    models: Annotated[tuple[TransformerEntry, ...], Field(min_length=1, max_length=1 + MAX_DRAFTERS)]
    # Of decodes that draft otherwise than from a coarser grid; none in bundles that were built before.
    branched: TransformerEntry | None = None  # the target, with branches and hidden states
    head: PassesEntry | None = None
    block: TransformerEntry | None = None  # of one code more, which stands for a token to draft
    tokenizer_sha256: Sha256
    semantic_ids: Annotated[int, Field(ge=0)] = 0  # how many TA-Tok has, where the bundle holds it
    ta_tok_sha256: Sha256 | None = None
    latent_sha256: dict[str, Sha256] = Field(
        default_factory=dict
    )  # weights of the trained up- and down-samplers, by graph
    graphs: dict[str, GraphEntry]
    codes: FileEntry
    code_dim: Positive
    neighbours: FileEntry
    max_neighbours: Positive
    prompt_grammar: FileEntry | None = None  # of the demo
    captions: FileEntry | None = None  # the tokenizer of captions, of models that were trained on captioned pictures
    example_prompts: Annotated[tuple[ExamplePrompt, ...], Field(max_length=MAX_EXAMPLES)] = ()  # of theirs
    weights: tuple[FileEntry, ...] = ()  # which large graphs keep beside their ONNX files, and share
    # Safetensors of transformers by graph, tokenizer, samplers: for torch-cuda.
    modules: dict[str, FileEntry] = Field(default_factory=dict)
    settings: Settings  # where a decode names no others
    presets: dict[PresetName, Settings] = Field(default_factory=dict, max_length=MAX_PRESETS)

    @model_validator(mode="after")
    def _caches_fit(self) -> Self:
        """Check every model against the keys and values of its graph, from which its cache is made."""
        for entry in self.with_caches:
            if entry.graph not in self.graphs:
                continue  # opening the bundle names every graph that is missing
            caches = self.graphs[entry.graph].cache_inputs
            expected = (entry.heads, SLOTS_DIMENSION, entry.head_dim)
            largest = self.graphs[entry.graph].dynamic.get(SLOTS_DIMENSION, (0,))[-1]
            if largest != entry.slots:
                raise ValueError(f"graphs.{entry.graph}.dynamic.slots: expected at most {entry.slots}, got {largest}")
            if len(caches) != 2 * entry.layers or any(item.shape[1:] != expected for item in caches):
                raise ValueError(
                    f"graphs.{entry.graph}: expected {2 * entry.layers} keys and values of [batch, heads, slots, "
                    f"head_dim] = [batch, {', '.join(map(str, expected))}], got "
                    + ", ".join(f"{item.name} {list(item.shape)}" for item in caches[:4])
                )
        return self

    @model_validator(mode="after")
    def _drafting_fits(self) -> Self:
        """Check what drafts on the target's own grid, and the target that it drafts for."""
        target = self.target
        own = (target.grid_height, target.grid_width, target.prefix_length)
        for place, graph, entry in self._beside_the_models():
            if entry is None:
                continue
            codes = target.vocabulary + (1 if place == BLOCK else 0)
            expected = (graph, *own, codes)
            actual = (entry.graph, entry.grid_height, entry.grid_width, entry.prefix_length, entry.vocabulary)
            if actual != expected:
                raise ValueError(
                    f"{place}: expected graph, rows, columns, prefix and codes {', '.join(map(str, expected))}, got "
                    + ", ".join(map(str, actual))
                )
            if place != BLOCK and entry.dim != target.dim:
                raise ValueError(f"{place}: expected hidden states of width {target.dim}, got {entry.dim}")
            if place != BLOCK and entry.slots < target.sequence_length + MAX_NODES:
                least = target.sequence_length + MAX_NODES
                raise ValueError(f"{place}: expected {least} slots or more, got {entry.slots}")
        if self.head is not None and self.branched is None:
            raise ValueError("branched: expected the target's hidden states beside a head, got none")
        return self

    def _beside_the_models(self) -> tuple[tuple[str, str, PassesEntry | None], ...]:
        """Return the fields that hold one more transformer each, the graph that it must have, and what they hold."""
        return (("branched", TARGET_BRANCHED, self.branched), (HEAD, HEAD, self.head), (BLOCK, BLOCK, self.block))

    @property
    def with_caches(self) -> tuple[PassesEntry, ...]:
        """Everything that makes passes over a cache: the models, then what there is beside them."""
        return (*self.models, *(entry for _, _, entry in self._beside_the_models() if entry is not None))

    @property
    def with_conditions(self) -> tuple[TransformerEntry, ...]:
        """Those of them that begin with a condition."""
        return tuple(entry for entry in self.with_caches if isinstance(entry, TransformerEntry))

    @model_validator(mode="after")
    def _conditions_fit(self) -> Self:
        """Check that all models take the same condition; each makes its own prefix from it."""
        for entry in self.with_conditions:
            if (entry.condition, entry.condition_width) != (self.target.condition, self.target.condition_width):
                raise ValueError(
                    f"{entry.graph}: expected a condition of the target's kind and width, {self.target.condition} "
                    f"{self.target.condition_width}, got {entry.condition} {entry.condition_width}"
                )
        return self

    @model_validator(mode="after")
    def _prompts_fit(self) -> Self:
        """Check that models which take ids of texts have what makes such ids, and no others have it."""
        makers = {"demo": self.prompt_grammar, "captioned": self.captions}
        is_made = makers.get(self.family) is not None
        if (self.target.condition == "fields") != is_made:
            raise ValueError(
                "family: expected demo, with a prompt grammar, or captioned, with captions, where and only where "
                "conditions are fields"
            )
        if self.family == "captioned" and self.target.condition_width != 1:
            raise ValueError(f"family captioned: expected one id a prefix token, got {self.target.condition_width}")
        if self.family != "captioned" and (self.captions is not None or self.example_prompts):
            raise ValueError(f"captions, example_prompts: expected none of family {self.family}")
        return self

    @model_validator(mode="after")
    def _grids_fit(self) -> Self:
        """Check that every grid is a whole multiple of the next (GRID-1)."""
        for number, (high, low) in enumerate(pairwise(self.models), start=1):
            ratio = high.grid_height // low.grid_height
            if (low.grid_height * ratio, low.grid_width * ratio) != (high.grid_height, high.grid_width):
                raise ValueError(
                    f"models.{number}: expected a grid of which {high.grid_height} x {high.grid_width} is a whole "
                    f"multiple, got {low.grid_height} x {low.grid_width}"
                )
        return self

    @property
    def target(self) -> TransformerEntry:
        """Model 0."""
        return self.models[0]

    def scale_ratio(self, number: int, draft_number: int) -> int:
        """Return how many rows of model `number` there are for each row of the coarser `draft_number` (GRID-1)."""
        return self.models[number].grid_height // self.models[draft_number].grid_height

    def graphs_of(self, settings: Settings) -> dict[str, str]:
        """Return the graphs that settings need beside the models' own, each with the setting that asks for it."""
        needed = {}
        for number, draft_number in pairwise(settings.model_numbers):
            ratio = self.scale_ratio(number, draft_number)
            needed[up_sampler_graph(ratio, settings.up_sampler)] = "up_sampler"
            if settings.decoding.by_rows:
                needed[down_sampler_graph(ratio, settings.down_sampler)] = "down_sampler"
        return needed

    def settings_by_place(self) -> dict[str, Settings]:
        """Return all settings that the bundle holds, by their place in the manifest."""
        return {"settings": self.settings} | {f"presets.{name}": value for name, value in self.presets.items()}

    def files(self) -> list[FileEntry]:
        """Return every file that the bundle must hold, the manifest aside."""
        files = [self.codes, self.neighbours, *self.weights, *self.modules.values()]
        files += [entry for entry in (self.prompt_grammar, self.captions) if entry]
        files += [entry.null_condition for entry in self.with_conditions if entry.null_condition]
        for graph in self.graphs.values():
            files += [graph.onnx, *(plan.file for plan in graph.plans)]
        return files
