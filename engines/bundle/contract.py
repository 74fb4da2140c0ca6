"""A bundle's contract: names and sizes that its builder and whatever runs it must agree on, each written once here.

The manifest says which of these a bundle holds (docs/bundle.md). Nothing here needs more than Python.
"""

from typing import Literal, Protocol, get_args

# Which models: the demo's, those that were trained on captioned pictures, LlamaGen's (class or caption), Tar's AR-DTok.
PublishedFamily = Literal["llamagen", "tar"]
Family = Literal["demo", "captioned", PublishedFamily]
PUBLISHED_FAMILIES: tuple[PublishedFamily, ...] = get_args(PublishedFamily)
# Models that come with the project; their bundles go by these names where a folder is asked for.
SHIPPED_MODELS = ("demo", "pictograms")

# fields: rows of ids, whose embeddings are added. class: one id. caption: a text encoder's features. features: an image
# encoder's.
ConditionKind = Literal["fields", "class", "caption", "features"]
# Of these a condition is int64 ids, of the others float32 numbers.
ID_CONDITIONS: tuple[ConditionKind, ...] = ("fields", "class")

# Of weights, keys, values and passes; logits and sampling are float32 in every bundle.
Precision = Literal["fp32", "fp16", "bf16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

# Runtimes that need a plan, and the Python package of each.
PlanBackend = Literal["trt-rtx", "trt"]
PLAN_PACKAGES: dict[str, str] = {"trt-rtx": "tensorrt_rtx", "trt": "tensorrt"}
# What makes and reads their plans, and how people call it: neither product reads the other's.
PlanProduct = Literal["tensorrt-rtx", "tensorrt"]
PLAN_PRODUCTS: dict[str, PlanProduct] = {"trt-rtx": "tensorrt-rtx", "trt": "tensorrt"}
PRODUCT_NAMES: dict[str, str] = {"tensorrt-rtx": "TensorRT for RTX", "tensorrt": "TensorRT"}

# Files of every bundle; of the demo's; of those of captioned pictures.
CODES_FILE, NEIGHBOURS_FILE = "codes.npy", "neighbours.npy"
GRAMMAR_FILE = "prompt_grammar.json"
CAPTIONS_FILE = "captions.json"

# The graph of the models' first, from which all others take their places.
TARGET = "target"
# The target once more, for decodes that need its hidden states or feed tokens on branches (`rules.branches`); what
# drafts from those hidden states; and what drafts many tokens in one pass. Bundles that were built before have none.
TARGET_BRANCHED, HEAD, BLOCK = "target_branched", "head", "block"
GRAPHS_WITH_HIDDEN = (TARGET_BRANCHED, HEAD)
# The output of the first two that is what `output`, the target's last matrix, makes logits of.
HIDDEN = "hidden"

# Graphs of every bundle, beside those of its transformers and scalers.
DECODER, SAMPLER, ACCEPTANCE = "decoder", "sampler", "acceptance"
# The graph that makes TA-Tok's features of semantic ids, and the module that it is made of.
SEMANTIC_FEATURES = "semantic_features"
# The module of which the decoder and the resize filters' scalers are made.
TOKENIZER = "tokenizer"

# Presets that builders and calibrations make: by windows, and in the fewest passes, which count on a GPU.
WINDOWS_PRESET, FEWEST_PASSES_PRESET = "windows", "passes"

# Neighbours of a code that a bundle lists, at most (POOL-1).
MAX_NEIGHBOURS = 64
# Slots beyond the sequence, for tokens that are fed again before the cache is compacted (KV-1).
SPARE_SLOTS = 256
# The dimension of a cache's slots, by its name in the graphs.
SLOTS_DIMENSION = "slots"


class TransformerSize(Protocol):
    """What the size of a transformer's cache follows from."""

    @property
    def sequence_length(self) -> int:
        """Prefix and cells."""

    @property
    def grid_height(self) -> int:
        """Rows of cells."""

    @property
    def grid_width(self) -> int:
        """Columns of cells."""


def slot_count(size: TransformerSize, nodes: int = 0) -> int:
    """Return how many slots a transformer's cache has where no manifest says it.

    Args:
        size: The transformer's.
        nodes: Of a tree, that live beside the sequence.
    """
    return size.sequence_length + min(SPARE_SLOTS, size.grid_height * size.grid_width) + nodes


def cache_head_dim(head_dim: int) -> int:
    """Return how many numbers a head's key or value has in a cache: a multiple of 8, which attention kernels need.

    Args:
        head_dim: How many the model's own heads have.
    """
    return -(-head_dim // 8) * 8


def model_names(drafters: int) -> list[str]:
    """Return the graph of each transformer, the target's first.

    Args:
        drafters: How many there are, from the finest grid to the coarsest.
    """
    return [model_name(number) for number in range(1 + drafters)]


def model_name(number: int) -> str:
    """Return what a model is called: 0 is the target."""
    return f"drafter_{number}" if number else TARGET


def condition_graph(model_name: str) -> str:
    """Return the name of the graph that makes a transformer's prefix of a condition."""
    return f"{model_name}_condition"


def up_sampler_graph(scale_ratio: int, up_sampler: str) -> str:
    """Return the name of the graph that is U_r (SCALE-1)."""
    return f"up_sampler_{scale_ratio}_{up_sampler}"


def down_sampler_graph(scale_ratio: int, down_sampler: str) -> str:
    """Return the name of the graph that is D_r (SCALE-2)."""
    return f"down_sampler_{scale_ratio}_{down_sampler}"


def cache_names(layers: int) -> list[str]:
    """Return the inputs of a transformer's graph that are its cache: key and value of every layer in turn."""
    return [f"{part}_{layer}" for layer in range(layers) for part in ("key", "value")]


def is_cache(tensor: str) -> bool:
    """Whether an input of a graph holds keys or values."""
    return tensor.startswith(("key_", "value_"))


def updated_cache(tensor: str) -> str:
    """Return the output that is a cache input with the pass's keys or values in it."""
    return f"new_{tensor}"


def null_condition_file(model_name: str) -> str:
    """Return the name of the file of a transformer's own null condition."""
    return f"{model_name}_null_condition.npy"
