"""Entries of the manifest: files, tensors, plans and where they run, graphs."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mulo_sd.engines.bundle.contract import HIDDEN, PlanBackend, PlanProduct, is_cache

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Positive = Annotated[int, Field(ge=1)]
Finite = Annotated[float, Field(ge=0, allow_inf_nan=False)]  # JSON's NaN and Infinity are Python's invention
# What stands in messages on a terminal: one short line, without control characters.
Words = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,120}$")]
Version = Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}$")]
PlatformName = Annotated[
    str, Field(pattern=r"^[a-z0-9]{1,16}-[a-z0-9_]{1,16}$")
]  # as `engines.backends.host` writes it
COMPUTE_CAPABILITY = re.compile(r"[1-9][0-9]?\.[0-9]")
MAX_COMPUTE_CAPABILITIES = MAX_PLATFORMS = 32
ANY: Literal["any"] = "any"


def stays_inside(path: str) -> bool:
    """Whether a path of a manifest, with forward slashes, lies below the manifest's folder on every system."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not (path.startswith("/") or ".." in parts or "\\" in path or ":" in path)


class Entry(BaseModel):
    """A part of the manifest; an unknown field is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FileEntry(Entry):
    """A file of the bundle; `path` is relative to its folder, with forward slashes."""

    path: str
    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=0)]

    @field_validator("path")
    @classmethod
    def _stays_inside(cls, path: str) -> str:
        if not stays_inside(path):
            raise ValueError(f"expected a path inside the bundle, got {path!r}")
        return path


class TensorEntry(Entry):
    """An input or output: a dimension is a number, or a name whose range stands in `dynamic`.

    A dimension of an output may also be an expression of such a name, such as "2*rows".
    """

    name: str
    dtype: Literal["int64", "float32", "float16", "bfloat16"]
    shape: tuple[int | str, ...]


class BuiltOn(Entry):
    """The machine that built a plan, for people; of these only the GPU decides where TensorRT's own plans run."""

    os: Words
    driver: Words | None = None  # none: it had no NVIDIA driver
    gpu: Words | None = None


class PlanCompatibility(Entry):
    """Where a plan runs, beside the exact version of what built it."""

    product: PlanProduct
    platforms: Annotated[tuple[PlatformName, ...], Field(min_length=1, max_length=MAX_PLATFORMS)]
    compute_capabilities: tuple[str, ...] | Literal["any"]
    or_later: bool = False  # also on GPUs newer than the newest of these
    hardware_compatibility: Literal["none", "same_compute_capability", "ampere_plus"] | None = None  # TensorRT's alone
    built_on: BuiltOn

    @field_validator("compute_capabilities", mode="before")
    @classmethod
    def _few(cls, value: object) -> object:
        """Say in one line what pydantic would say once for each part of the union."""
        if value == ANY:
            return value
        most = MAX_COMPUTE_CAPABILITIES
        items = value if isinstance(value, list | tuple) else ()
        if not 1 <= len(items) <= most:
            got = f"{len(items)} of them" if items is value else f"{value!r:.40}"
            raise ValueError(f'expected "any", or a list of 1 to {most} such as "8.9", got {got}')
        for item in items:
            if not (isinstance(item, str) and COMPUTE_CAPABILITY.fullmatch(item)):
                raise ValueError(f'expected numbers such as "8.9", got {item!r:.40}')
        return value


class PlanEntry(Entry):
    """A TensorRT plan of a graph, and the ranges of the dynamic dimensions of its profiles, in TensorRT's order."""

    backend: PlanBackend
    file: FileEntry
    build_seconds: Finite
    version: Version  # of the product that built it; no other loads it
    compatibility: PlanCompatibility | None = None  # none in bundles that were built before
    profiles: tuple[dict[str, tuple[int, int, int]], ...] = ()  # none: one, the graph's own ranges


class GraphEntry(Entry):
    """A graph: its ONNX file, its plans, its inputs and outputs, and how far it is from the reference."""

    onnx: FileEntry
    plans: tuple[PlanEntry, ...] = ()
    inputs: tuple[TensorEntry, ...]
    outputs: tuple[TensorEntry, ...]
    dynamic: dict[str, tuple[int, int, int]]  # smallest, usual, largest
    build_seconds: Finite
    peak_bytes: Annotated[int, Field(ge=0)] = 0  # of memory while it was exported, compared and compiled; 0: unknown
    measured_error: Finite
    tolerance: Finite
    error_of: str  # what was measured, in words
    # How large its numbers became on real inputs, in the precision's own arithmetic, and the largest that it has; None
    # where all is float32 in every bundle, and in bundles that were built before.
    largest_activation: Finite | None = None
    activation_limit: Finite | None = None

    @property
    def has_hidden(self) -> bool:
        """Whether it also gives hidden states, Float32[B, T, dim]."""
        return any(item.name == HIDDEN for item in self.outputs)

    @property
    def cache_inputs(self) -> tuple[TensorEntry, ...]:
        """The keys and values among the inputs; none where the graph keeps no state."""
        return tuple(item for item in self.inputs if is_cache(item.name))
