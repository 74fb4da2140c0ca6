"""The models that the options of the build command choose, and the bundle that is to be built of them."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping
from typing import NamedTuple, get_args

from mulo_sd import engines
from mulo_sd.engines.bundle.contract import FEWEST_PASSES_PRESET, PUBLISHED_FAMILIES, PlanBackend
from mulo_sd.export.build_arguments import MODEL_NAMES
from mulo_sd.export.build_bundle import neighbour_table
from mulo_sd.export.demo_evidence import demo_evidence
from mulo_sd.export.evidence import Evidence
from mulo_sd.export.plans import is_installed
from mulo_sd.export.precision import TORCH_DTYPES
from mulo_sd.export.published import (
    Files,
    load_published,
    load_ta_tok_of,
    published_evidence,
    published_settings,
)
from mulo_sd.export.request import BuildRequest
from mulo_sd.export.trained_evidence import trained_evidence
from mulo_sd.reference import demo, minimal
from mulo_sd.reference.checkpoints.ta_tok import TATokDecoder
from mulo_sd.reference.demo.models import PRESETS, RECOMMENDED
from mulo_sd.reference.models import Models
from mulo_sd.reference.settings import Settings
from mulo_sd.reference.trained import Trained, load_trained
from mulo_sd.reference.trained.description import read_description
from mulo_sd.reference.weights import WeightsError


class KnownModels(NamedTuple):
    """Models that the command knows, the settings that their bundle starts from, and its presets."""

    load: Callable[[], Models]
    settings: Settings
    presets: Mapping[str, Settings] = {}


def _load_pictograms() -> Trained:
    """Load the second world's models; their module is of the distribution mulo-sd-demo, and loaded when it is asked."""
    from mulo_sd.reference.pictograms.shipped import load

    return load()


KNOWN_MODELS = {
    "demo": KnownModels(demo.load, RECOMMENDED, PRESETS),
    "minimal": KnownModels(minimal.load, minimal.SETTINGS),
    "minimal-oblong": KnownModels(minimal.load_oblong, minimal.SIBLING_SETTINGS),
    "minimal-large": KnownModels(minimal.load_large, minimal.SIBLING_SETTINGS),
}
# Those that the command knows and that were trained on captioned pictures.
TRAINED_MODELS: Mapping[str, Callable[[], Trained]] = {"pictograms": _load_pictograms}


def plan_backends_of(chosen: list[str] | None) -> list[PlanBackend]:
    """Return the runtimes that plans are built for: those of the options, or without any those that are installed."""
    known: tuple[PlanBackend, ...] = get_args(PlanBackend)
    if chosen is None:
        return [backend for backend in known if is_installed(backend)]
    return [backend for backend in known if backend in chosen]


def published_files(arguments: argparse.Namespace) -> Files | None:
    """Return the checkpoints that were given; None where the models are known ones.

    Raises:
        WeightsError: some are missing, or options contradict each other.
    """
    needed = (arguments.target, arguments.vq, *arguments.drafter)
    others = (arguments.ta_tok, arguments.head, arguments.semantic_ids, *arguments.pixels)
    if arguments.family is None:
        if any(item is not None for item in (*needed, *others)):
            raise WeightsError(f"family: expected {' or '.join(PUBLISHED_FAMILIES)} beside checkpoints, got none")
        return None
    for option in ("models", "trained"):
        if getattr(arguments, option) is not None:
            got = getattr(arguments, option)
            raise WeightsError(f"{option}: expected none beside --family {arguments.family}, got {got}")
    if arguments.target is None or arguments.vq is None:
        raise WeightsError(f"family {arguments.family}: expected --target and --vq, got not both of them")
    return Files(
        arguments.family,
        arguments.target,
        tuple(arguments.drafter),
        arguments.vq,
        pixels=arguments.pixels,
        ta_tok=arguments.ta_tok,
        semantic_ids=arguments.semantic_ids,
        head=arguments.head,
    )


class Loaded(NamedTuple):
    """The models that the options name, the settings and presets of their bundle, and what comes with the models.

    Attributes:
        ta_tok: Tar's image tokenizer, if it is given.
        trained: The folder's content, of models that were trained on captioned pictures.
    """

    models: Models
    settings: Settings
    presets: Mapping[str, Settings]
    ta_tok: TATokDecoder | None
    trained: Trained | None = None


def chosen_name(arguments: argparse.Namespace) -> str:
    """Return what the chosen models are called, which their bundle's folder is named after where no --out is given.

    Raises:
        WeightsError: trained models cannot be read, or go by the name of others.
    """
    if arguments.trained is None:
        name: str = arguments.family or arguments.models or "demo"
        return name
    name = read_description(arguments.trained).name
    if name in (*MODEL_NAMES, *PUBLISHED_FAMILIES):
        raise WeightsError(f"{arguments.trained}: expected models of a name of their own, got {name!r}; give --out")
    return name


def _load_trained(arguments: argparse.Namespace) -> Trained | None:
    if arguments.trained is not None:
        if arguments.models is not None:
            raise WeightsError(f"models: expected none beside --trained, got {arguments.models}")
        return load_trained(arguments.trained)
    return TRAINED_MODELS[arguments.models]() if arguments.models in TRAINED_MODELS else None


def load_chosen(arguments: argparse.Namespace) -> Loaded:
    """Load what the options name.

    Raises:
        WeightsError: a file cannot be used, a number is too large for the precision, or options contradict each other.
    """
    files = published_files(arguments)
    trained = None if files else _load_trained(arguments)
    if files is not None:
        dtype = TORCH_DTYPES[arguments.precision]
        models = load_published(files, dtype)
        loaded = Loaded(models, published_settings(models), {}, load_ta_tok_of(files, models, dtype))
    elif trained is not None:
        loaded = Loaded(trained.models, trained.settings, trained.presets, None, trained)
    else:
        load, settings, presets = KNOWN_MODELS[arguments.models or "demo"]
        loaded = Loaded(load(), settings, presets, None)
    models = demo.with_latent_samplers(loaded.models, arguments.up_sampler, arguments.down_sampler)
    return loaded._replace(models=models)


def _evidence(arguments: argparse.Namespace, loaded: Loaded) -> Evidence:
    table = neighbour_table(loaded.models)
    if loaded.trained is not None:
        return trained_evidence(loaded.models, loaded.trained, table)
    if arguments.family is not None:
        return published_evidence(loaded.models, table, loaded.ta_tok)
    return demo_evidence(loaded.models, table)


def request_for(arguments: argparse.Namespace, loaded: Loaded) -> BuildRequest:
    """Return what to build: a bundle with files of a runtime on a GPU starts from the preset that is made for it."""
    presets = {name: engines.Settings(**dataclasses.asdict(value)) for name, value in loaded.presets.items()}
    settings = engines.Settings(**dataclasses.asdict(loaded.settings))
    plan_backends, with_modules = plan_backends_of(arguments.backend), "torch-cuda" in (arguments.backend or ())
    trained, known = loaded.trained, arguments.family or arguments.models or "demo"
    return BuildRequest(
        name=trained.name if trained and arguments.trained else f"mulo-sd {known}",
        evidence=_evidence(arguments, loaded),
        # On a GPU passes cost time, and cells in them little.
        settings=presets.get(FEWEST_PASSES_PRESET, settings) if plan_backends or with_modules else settings,
        presets=presets,
        precision=arguments.precision,
        family=arguments.family or ("captioned" if trained else "demo"),
        captions=trained.captions if trained else None,
        example_prompts=trained.examples if trained else (),
        plan_backends=plan_backends,
        compute_capabilities=tuple(dict.fromkeys(arguments.compute_capability)),
        all_filters=arguments.all_filters,
        with_modules=with_modules,
        consume=arguments.family is not None,
        branched=arguments.branched or arguments.family is None,
    )
