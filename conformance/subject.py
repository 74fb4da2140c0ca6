"""What is under test: a bundle, the backend that runs it, and the reference with the same weights."""

import contextlib
import copy
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from mulo_sd import engines
from mulo_sd.engines.backends import Backend, make_backend
from mulo_sd.engines.backends.base import one_line
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.commands.demo_bundle import build_demo_bundle, bundle_path
from mulo_sd.engines.modes import MODES
from mulo_sd.engines.named_functions import function_named
from mulo_sd.reference import demo, minimal
from mulo_sd.reference.models import Models
from mulo_sd.reference.transformer import Transformer
from mulo_sd.reference.weights import weights_sha256


@cache
def _pictograms() -> Models:
    """Load the second world's models.

    Raises:
        ModuleNotFoundError: the distribution that holds them is not installed.
    """
    from mulo_sd.reference.pictograms import shipped

    if not shipped.SHIPPED.is_dir():
        raise ModuleNotFoundError(f"no {shipped.SHIPPED}")
    return shipped.load().models


# Models whose weights a bundle may have without further telling.
KNOWN_MODELS: Mapping[str, Callable[[], Models]] = {
    "minimal": minimal.load,
    "minimal-oblong": minimal.load_oblong,
    "minimal-large": minimal.load_large,
    "demo": cache(demo.load),
    "pictograms": _pictograms,
}


class SubjectError(ValueError):
    """Something that cannot be tested; its message is one line for the user."""


@dataclass(frozen=True, eq=False, repr=False)
class Subject:
    """A bundle on a backend.

    Attributes:
        pipeline: Decodes.
        models: The reference's, in float32, with the bundle's weights.
        make: Makes another backend of the same kind for the bundle.
    """

    pipeline: engines.Pipeline
    models: Models
    make: Callable[[Bundle], Backend]

    def fresh(self) -> "Subject":
        """Return the same bundle on a backend that has run nothing yet."""
        bundle = self.pipeline.bundle
        return Subject(engines.Pipeline(bundle, self.make(bundle)), self.models, self.make)

    def wide(self, number: int) -> Transformer:
        """Return the reference's model of a number in float64, made once."""
        return _wide(self.models, number)

    @cached_property
    def capabilities(self) -> frozenset[str]:
        """What the backend supports and the bundle holds models for."""
        traits, manifest = self.pipeline.backend.traits, self.pipeline.bundle.manifest
        capabilities = set(traits.capabilities)
        has_branches = traits.branches and manifest.branched is not None
        has_head = manifest.head is not None and self.models.head is not None
        has_block = manifest.block is not None and self.models.block is not None
        for name, mode in MODES.items():
            lacks_head, lacks_block = mode.has_head and not has_head, mode.draft == "block" and not has_block
            if (mode.needs_branches and not has_branches) or lacks_head or lacks_block:
                capabilities.discard(name)
        if len(manifest.models) == 1:
            capabilities -= {*(name for name, mode in MODES.items() if mode.drafts), "cascade", "latent"}
        elif len(manifest.models) == 2:
            capabilities.discard("cascade")
        if not any(name.endswith("_latent") for name in manifest.graphs):
            capabilities.discard("latent")
        return frozenset(capabilities)

    @property
    def device(self) -> str:
        """What it runs on: as the backend says, else this machine's processor."""
        return self.pipeline.backend.device or processor_name()

    @property
    def precision(self) -> str:
        """Of the bundle."""
        return self.pipeline.bundle.manifest.precision

    def __repr__(self) -> str:
        """Show no weights."""
        return f"<{self.name}>"

    @cached_property
    def name(self) -> str:
        """For messages."""
        return f"{self.pipeline.bundle.path.name} on {self.pipeline.backend.name}"


_widened: dict[tuple[int, int], Transformer] = {}  # by id of the models, which live as long as the process


def _wide(models: Models, number: int) -> Transformer:
    key = (id(models), number)
    if key not in _widened:
        _widened[key] = copy.deepcopy(models.transformer(number)).double()
    return _widened[key]


def processor_name() -> str:
    """Return the name of this machine's processor, as far as it tells."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def open_subject(bundle: Path, backend: str = "ort", models: str | None = None) -> Subject:
    """Open a bundle for testing.

    Args:
        bundle: Its folder.
        backend: A backend's name, or "module:factory".
        models: "module:function" that returns the reference's models; None looks among KNOWN_MODELS.

    Raises:
        SubjectError: the bundle or the backend cannot be used, or no reference has the bundle's weights.
    """
    try:
        pipeline = engines.load(bundle, backend, threads=1)
    except (engines.BundleError, engines.BackendError) as error:
        raise SubjectError(one_line(error)) from None
    return Subject(pipeline, _models_of(pipeline, models), lambda bundle: make_backend(backend, bundle, threads=1))


def build_preset(models: str, precision: str, plans: bool) -> Path:
    """Return the folder of a preset's bundle, built where it is not there.

    Raises:
        SubjectError: it cannot be built.
    """
    path = bundle_path(models, precision)
    if not path.exists():
        try:
            build_demo_bundle(path, precision, plans, models)
        except engines.BundleError as error:
            raise SubjectError(one_line(error)) from None
    return path


def _models_of(pipeline: engines.Pipeline, models: str | None) -> Models:
    bundle = pipeline.bundle
    if models is None:
        for load in KNOWN_MODELS.values():
            try:
                loaded = load()
            except ModuleNotFoundError:
                continue
            if hashes_of(loaded) == [entry.weights_sha256 for entry in bundle.manifest.models]:
                return loaded
        raise SubjectError(
            f"{bundle.path}: expected the weights of {' or '.join(KNOWN_MODELS)}, got others; if they are your own, "
            "name a function that returns their reference.models.Models with --models module:function, else "
            f"{bundle.rebuild()}"
        )
    loaded = _call(models)
    if hashes_of(loaded) != [entry.weights_sha256 for entry in bundle.manifest.models]:
        raise SubjectError(f"--models {models}: expected the weights that {bundle.path} was built from, got others")
    return loaded


def hashes_of(models: Models) -> list[str]:
    """Return the hashes of the target's and the drafters' weights."""
    return [weights_sha256(models.transformer(number)) for number in range(1 + len(models.drafters))]


def _call(name: str) -> Models:
    try:
        models = function_named(name)()
    except (Exception, SystemExit) as error:  # code from outside may raise anything
        raise SubjectError(f"--models {name}: {type(error).__name__}: {one_line(error)}") from None
    if not isinstance(models, Models):
        raise SubjectError(f"--models {name}: expected a reference.models.Models, got {type(models).__name__}")
    return models
