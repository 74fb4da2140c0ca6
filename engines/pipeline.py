"""A bundle ready to draw: prompts in, images out."""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engines.backends import Backend, make_backend
from engines.bundle import Bundle, BundleError, open_bundle
from engines.decode import Decoded, Decoder, Progress
from engines.likelihood import token_log_probs
from engines.prompts import Plan, make_plan, null_prefix, parse, prefix_from_plan
from engines.prompts.plan import check_plan
from engines.prompts.prefix import grammar_description
from engines.settings import UNDRAFTED_MODES, Mode, Settings, SettingsError
from engines.state import Tokens
from engines.trace import Trace


@dataclass(frozen=True)
class Stats:
    """Figures of one decode; passes include the prefills."""

    nfe_target: int
    nfe_drafter: int  # of all drafters together
    cycles: int
    acceptance_rate: float
    resampled_rate: float
    seconds: float


@dataclass(frozen=True)
class Result:
    """A generated image.

    Attributes:
        image: RGB.
        tokens: Int[H, W].
        plan: The layout that was drawn.
        settings: How it was decoded.
        trace: Every pass and decision.
        stats: Its figures.
    """

    image: Image.Image
    tokens: Tokens
    plan: Plan
    settings: Settings
    trace: Trace
    stats: Stats


class Pipeline:
    """Draws images with the graphs of one bundle; calls do not share state, so several threads may draw."""

    def __init__(self, bundle: Bundle, backend: Backend) -> None:
        """Join a bundle and a backend made for it.

        Raises:
            BundleError: the bundle was built for another prompt grammar than this version's.
        """
        self.bundle, self.backend = bundle, backend
        grammar = bundle.file(bundle.manifest.prompt_grammar)
        if json.loads(grammar.read_text(encoding="utf-8")) != grammar_description():
            raise BundleError(
                f"{grammar}: the bundle's prompt grammar is not this version's; "
                "build the bundle again with `python -m export.build --force`"
            )

    def settings(self, **changes: object) -> Settings:
        """Return the bundle's settings with some changed; None leaves one as it is.

        Raises:
            SettingsError: a setting is unknown, out of its range, or asks for what the bundle does not hold.
        """
        manifest = self.bundle.manifest
        settings = manifest.settings.changed(**changes)
        limit, last = manifest.max_neighbours, len(manifest.models) - 1
        if settings.neighbours > limit:
            raise SettingsError(f"neighbours: expected at most {limit}, as the bundle holds, got {settings.neighbours}")
        if last == 0 and settings.mode not in UNDRAFTED_MODES:
            expected = " or ".join(UNDRAFTED_MODES)
            raise SettingsError(f"mode: expected {expected}, since the bundle holds no drafter, got {settings.mode!r}")
        if settings.model_numbers[-1] > last:
            raise SettingsError(f"drafters: expected models in 1..{last}, got {settings.model_numbers[-1]}")
        for graph, name in manifest.graphs_of(settings).items():
            if graph not in manifest.graphs:
                prefix = graph.removesuffix(getattr(settings, name))
                there = ", ".join(other.removeprefix(prefix) for other in manifest.graphs if other.startswith(prefix))
                raise SettingsError(f"{name}: expected one of {there or 'none'}, got {getattr(settings, name)!r}")
        return settings

    def generate(
        self,
        prompt: str,
        seed: int = 0,
        mode: Mode | None = None,
        plan: Plan | None = None,
        draft: Tokens | None = None,
        progress: Progress = lambda done, total: None,
        record_logits: bool = False,
        **changes: object,
    ) -> Result:
        """Draw an image; the same arguments give the same image (CONF-5).

        Args:
            prompt: Plain English in the demo's grammar.
            seed: 0..2^64 - 1; of the plan, where none is given, and of every sample.
            mode: "ar", "zipar", "serial", "parallel" or "exact"; None takes the bundle's.
            plan: Where the objects go.
            draft: Int[h, w], tokens to take instead of the coarsest drafter's.
            progress: Called with the cells decided and the cells of the image.
            record_logits: Keep the logits of every pass in the trace.
            changes: Other settings, by name.

        Raises:
            PromptError: the prompt is not understood.
            PlanError: the plan does not fit the prompt.
            SettingsError: a setting or the seed is out of its range.
        """
        settings = self.settings(mode=mode, **changes)
        if not isinstance(seed, int) or not 0 <= seed < 2**64:
            raise SettingsError(f"seed: expected an integer in 0..2^64 - 1, got {seed}")
        parsed = parse(prompt)
        if plan is None:
            plan = make_plan(parsed, seed)
        check_plan(plan, parsed)
        prefix_ids = np.stack([prefix_from_plan(parsed, plan), null_prefix()])
        started = time.perf_counter()
        decoded = self.decode(prefix_ids, settings, seed, draft, progress, record_logits)
        image = self.image_from_tokens(decoded.tokens)
        trace = decoded.trace
        stats = Stats(
            nfe_target=trace.nfe(0),
            nfe_drafter=len(trace.passes) - trace.nfe(0),
            cycles=len(trace.cycles_of(0)),
            acceptance_rate=trace.acceptance_rate,
            resampled_rate=trace.resampled_rate,
            seconds=time.perf_counter() - started,
        )
        return Result(image, decoded.tokens, plan, settings, trace, stats)

    def decode(
        self,
        prefix_ids: Tokens,
        settings: Settings,
        seed: int,
        draft: Tokens | None = None,
        progress: Progress = lambda done, total: None,
        record_logits: bool = False,
    ) -> Decoded:
        """Decode a condition, Int[2, P, fields], to tokens."""
        decoder = Decoder(self.bundle, self.backend, prefix_ids, settings, seed, progress, record_logits)
        return decoder.decode(draft)

    def token_log_probs(self, prompt: str, plan: Plan, tokens: Tokens) -> NDArray[np.float64]:
        """Return what the target thinks of an image's tokens, log p in nats, Float64[H, W]; one pass.

        Guidance is the bundle's; temperature and filters are left out, so that no token is impossible.

        Args:
            prompt: As for `generate`.
            plan: Where its objects are.
            tokens: Int[H, W].

        Raises:
            PromptError: the prompt is not understood.
            PlanError: the plan does not fit the prompt.
        """
        parsed = parse(prompt)
        check_plan(plan, parsed)
        prefix_ids = np.stack([prefix_from_plan(parsed, plan), null_prefix()])
        return token_log_probs(self.bundle, self.backend, prefix_ids, self.bundle.manifest.settings, tokens)

    def image_from_tokens(self, tokens: Tokens) -> Image.Image:
        """Decode tokens, Int[H, W], to an RGB image."""
        pixels = self.backend.run("decoder", {"tokens": tokens})["image"]
        return Image.fromarray(np.rint(pixels).astype(np.uint8))


def load(path: Path | str, backend: str = "ort", threads: int | None = None) -> Pipeline:
    """Open a bundle and make it ready to draw.

    Args:
        path: The bundle's folder.
        backend: "ort", "trt-rtx", "trt", or "module:factory" for one of your own.
        threads: For the CPU; None takes the runtime's choice.

    Raises:
        BundleError: the bundle is missing, incomplete, changed, or of a newer schema.
        BackendError: the backend cannot be used here.
    """
    bundle = open_bundle(path)
    return Pipeline(bundle, make_backend(backend, bundle, threads))
