"""What is to be built."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mulo_sd.engines.bundle.contract import Family, PlanBackend, Precision
from mulo_sd.engines.prompts.caption_ids import CaptionIds
from mulo_sd.engines.settings import Settings
from mulo_sd.export.evidence import Evidence


@dataclass(frozen=True)
class BuildRequest:
    """A bundle to build.

    Attributes:
        name: What the bundle calls itself.
        evidence: The models, in float32, and the real inputs on which their graphs are compared with them.
        settings: The bundle's decode settings.
        presets: Further ones by name, which a decode may ask for.
        precision: Of weights, caches and passes.
        family: Which models they are; the demo's take its prompt grammar.
        captions: Makes ids of captions, of models that were trained on captioned pictures.
        example_prompts: Captions that such models understand, a line each.
        plan_backends: Runtimes to build plans for.
        compute_capabilities: Of the GPUs that TensorRT for RTX builds for; none: its default.
        all_filters: Build scalers of every resize filter.
        with_modules: Write the weights of all modules too, for the backend torch-cuda.
        consume: Give up the weights of each transformer once its graphs are built: it is of no use afterwards.
        branched: Build the target's graph with branches and hidden states even where there is no head.
    """

    name: str
    evidence: Evidence
    settings: Settings
    precision: Precision
    family: Family = "demo"
    captions: CaptionIds | None = None
    example_prompts: tuple[str, ...] = ()
    presets: Mapping[str, Settings] = field(default_factory=dict)
    plan_backends: Sequence[PlanBackend] = ()
    compute_capabilities: Sequence[str] = ()
    all_filters: bool = False
    with_modules: bool = False
    consume: bool = False
    branched: bool = False
