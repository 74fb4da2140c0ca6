"""A bundle ready to draw: prompts in, images out."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mulo_sd.engines.backends import Backend
from mulo_sd.engines.bundle import Bundle
from mulo_sd.engines.condition import Condition, ConditionError, check_condition
from mulo_sd.engines.conditions import Described, SemanticFrontEnd, front_end_for, load_condition
from mulo_sd.engines.loop.decode import Decoded, Decoder, Progress
from mulo_sd.engines.loop.likelihood import token_log_probs
from mulo_sd.engines.loop.state import Tokens
from mulo_sd.engines.numbers import seed_number, seed_numbers, token_grid, whole_number
from mulo_sd.engines.passes.auto_widths import AutoWidths
from mulo_sd.engines.prompts import Plan, PlanError, PromptError
from mulo_sd.engines.service.bundle_settings import settings_of
from mulo_sd.engines.service.hooks import NO_HOOKS, Hooks, no_progress, split_options
from mulo_sd.engines.service.image import image_from_tokens
from mulo_sd.engines.service.result import Prepared, Result, stats_of
from mulo_sd.engines.service.session import MAX_AT_ONCE, Session
from mulo_sd.engines.settings import Mode, Settings, SettingsError


class Pipeline:
    """Draws images with the graphs of one bundle; calls do not share state, so several threads may draw."""

    def __init__(self, bundle: Bundle, backend: Backend, text_model: str | None = None) -> None:
        """Join a bundle and a backend made for it.

        Args:
            bundle: Opened and checked.
            backend: Runs its graphs.
            text_model: Folder or name of flan-t5-xl (LlamaGen's captions) or of Tar's language model.

        Raises:
            BundleError: the bundle was built for another prompt grammar than this version's.
            SettingsError: the text model is no text.
        """
        self.bundle, self.backend = bundle, backend
        self.auto_widths = AutoWidths(bundle, backend)
        self.front_end = front_end_for(bundle, backend, text_model)

    def settings(self, preset: str | None = None, **changes: object) -> Settings:
        """Return the bundle's settings with some changed; None leaves one as it is, but makes a window infinite.

        Args:
            preset: Of the bundle, whose settings to take instead; None is the bundle's own.
            changes: Settings by name.

        Raises:
            SettingsError: a preset or setting is unknown, out of its range, or asks for what the bundle does not hold.
        """
        return settings_of(self.bundle.manifest, preset, changes)

    @overload
    def generate(self, prompt: str | Condition, seed: int = 0, mode: Mode | None = None, **options: Any) -> Result: ...

    @overload
    def generate(
        self,
        prompt: Iterable[str | Condition],
        seed: int | Iterable[int] = 0,
        mode: Mode | None = None,
        *,
        batch: int,
        **options: Any,
    ) -> list[Result]: ...

    def generate(
        self,
        prompt: str | Condition | Iterable[str | Condition],
        seed: int | Iterable[int] = 0,
        mode: Mode | None = None,
        *,
        batch: int | None = None,
        **options: Any,
    ) -> Result | list[Result]:
        """Draw an image, or with `batch` one of each prompt; the same arguments give the same image (CONF-5).

        Args:
            prompt: What to draw, or with `batch` several prompts.
            seed: Of the image, a whole number of Python's or numpy's; with `batch` of every image, or one of each.
            mode: None takes the bundle's.
            batch: How many images are drawn at once, sharing passes; see `session` for requests that come and go.
            options: As for `draw`.

        Raises:
            SettingsError: prompts without `batch` or the other way round, or another number of seeds than of prompts.
            Exception: as `draw`.
        """
        alone = isinstance(prompt, str | Condition)
        listed = not alone and isinstance(prompt, Iterable) and getattr(prompt, "ndim", 1) == 1
        if alone != (batch is None) or alone == listed:
            expected = "one prompt without batch" if batch is None else "a list of prompts with batch"
            raise SettingsError(f"prompt: expected {expected}, got {type(prompt).__name__}")
        if isinstance(prompt, str | Condition):
            return self.draw(prompt, seed, mode, **options)  # type: ignore[arg-type]  # `draw` checks its seed
        size = whole_number("batch", batch, 1, MAX_AT_ONCE)
        prompts = list(prompt)
        seeds = seed_numbers(len(prompts), seed)
        if not prompts:
            return []
        with self.session(size, queue=len(prompts)) as session:
            requests = [session.submit(one, own, mode, **options) for one, own in zip(prompts, seeds, strict=True)]
            return [request.result() for request in requests]

    def session(self, size: int = 8, queue: int | None = None, workers: int = 1) -> Session:
        """Return a session, which draws up to `size` images at once for requests that come and go.

        Args:
            size: 1..256.
            queue: How many requests may wait beyond those; None is 16 times the size.
            workers: Threads that decode, 1..256 (`Session`).

        Raises:
            SettingsError: one of them is out of its range.
        """
        return Session(self, size, queue, workers)

    def draw(
        self,
        prompt: str | Condition,
        seed: int = 0,
        mode: Mode | None = None,
        plan: Plan | None = None,
        draft: Tokens | None = None,
        progress: Progress = no_progress,
        **options: Any,
    ) -> Result:
        """Draw one image.

        Args:
            prompt: What to draw, as the bundle's models understand it (docs/demo.md, docs/checkpoints.md), or numbers.
            seed: 0..2^64 - 1; of the plan, where none is given, and of every sample.
            mode: "ar", "zipar", "serial", "parallel" or "exact"; None takes the bundle's.
            plan: Where the objects of the demo go.
            draft: Int[h, w], tokens to take instead of the coarsest drafter's.
            progress: Called with the cells decided and the cells of the image.
            options: `preset`, as for `settings`; the other fields of `Hooks`; other settings, by name.

        Raises:
            PromptError: the prompt is not understood.
            PlanError: the plan does not fit the prompt.
            ConditionError: a condition in numbers does not fit the bundle's models.
            SettingsError: a setting or the seed is out of its range.
            BackendError: a graph cannot be run, or answers with what it must not.
            ValueError: the draft has another shape than the coarsest drafter's grid, or nothing is drafted.
        """
        hooks, changes = split_options(options | {"progress": progress})
        prepared = self.prepare(prompt, seed, mode, plan, **changes)
        started = time.perf_counter()
        decoded = self.decode(prepared.described.condition, prepared.settings, prepared.seed, draft, hooks=hooks)
        return self.finish(prepared, decoded, started)

    def prepare(
        self,
        prompt: str | Condition,
        seed: int = 0,
        mode: Mode | None = None,
        plan: Plan | None = None,
        **changes: object,
    ) -> Prepared:
        """Check the arguments against the bundle, and describe the prompt; the first third of `draw`.

        Raises:
            Exception: as `draw`.
        """
        settings = self.settings(mode=mode, **changes)  # type: ignore[arg-type]  # a preset is checked there
        seed = seed_number(seed)
        return Prepared(self.describe(prompt, seed, plan), settings, seed)

    def finish(self, prepared: Prepared, decoded: Decoded, started: float) -> Result:
        """Make the image of decoded tokens; the last third of `draw`.

        Args:
            prepared: The prompt, settings and seed of the decode.
            decoded: Its tokens and trace.
            started: When it began, as `time.perf_counter` counts.
        """
        image = self.image_from_tokens(decoded.tokens)
        stats = stats_of(decoded.trace, time.perf_counter() - started)
        return Result(image, decoded.tokens, prepared.described.plan, prepared.settings, decoded.trace, stats)

    def check_prompt(self, prompt: str) -> None:
        """Check a prompt as far as that is cheap; describing it may still find more.

        Raises:
            PromptError: the prompt is not understood.
            ConditionError: no prompt at all can be described, such as without a text model.
        """
        self.front_end.check(prompt)

    def load_condition(self, path: Path | str) -> Condition:
        """Read a condition, or semantic ids of which the bundle's TA-Tok makes one, from an npz file.

        Raises:
            ConditionError: the file cannot be used, or does not fit the bundle's models.
        """
        condition = load_condition(path)
        if not isinstance(condition, Condition):
            if not isinstance(self.front_end, SemanticFrontEnd):
                raise ConditionError(f"{path}: expected a condition, got semantic ids, which are for Tar's models")
            condition = self.front_end.from_ids(condition)
        check_condition(condition, self.bundle.manifest.target)
        return condition

    def describe(self, prompt: str | Condition, seed: int = 0, plan: Plan | None = None) -> Described:
        """Return a prompt as a condition in numbers, checked against the bundle's models.

        Raises:
            PromptError: the prompt is not understood.
            PlanError: the plan does not fit the prompt, or the bundle's models take none.
            ConditionError: a condition in numbers does not fit the bundle's models.
        """
        if plan is not None and not isinstance(plan, Plan):
            raise PlanError(f"plan: expected an engines.Plan, got {plan!r:.80}; load_plan reads one from a file")
        if isinstance(prompt, Condition):
            if plan is not None:
                raise PlanError("plan: expected none beside a condition in numbers")
            described = Described(prompt)
        elif not isinstance(prompt, str):
            raise PromptError(f"prompt: expected text or an engines.Condition, got {type(prompt).__name__}")
        else:
            described = self.front_end.describe(str(prompt), seed_number(seed), plan)
        check_condition(described.condition, self.bundle.manifest.target)
        return described

    def decode(
        self,
        condition: Condition,
        settings: Settings,
        seed: int,
        draft: Tokens | None = None,
        *,
        hooks: Hooks = NO_HOOKS,
        backend: Backend | None = None,
    ) -> Decoded:
        """Decode a condition to tokens; the second third of `draw`.

        Args:
            condition: What to draw.
            settings: How to decode, from `settings`.
            seed: 0..2^64 - 1.
            draft: Int[h, w], tokens to take instead of the coarsest drafter's.
            hooks: Callbacks of the decode, and what its trace keeps.
            backend: Another of the same bundle to decode on, as sessions do to share passes; None is the pipeline's.

        Raises:
            Exception: as `draw`.
        """
        decoder = Decoder(
            self.bundle,
            backend or self.backend,
            condition,
            settings,
            seed,
            progress=hooks.progress,
            record_logits=hooks.record_logits,
            accepted=hooks.accepted,
            step=hooks.step,
        )
        for state in decoder.states:
            state.auto_width = self.auto_widths.of(state.entry, state.session.batch)
        hooks.watch(decoder)
        return decoder.decode(draft)

    def token_log_probs(self, prompt: str | Condition, plan: Plan | None, tokens: Tokens) -> NDArray[np.float64]:
        """Return the target's log-probability of each of an image's tokens, in nats, Float64[H, W]; one pass.

        Guidance is the bundle's; temperature and filters are left out, so that no token is impossible.

        Args:
            prompt: As for `generate`.
            plan: Where the demo's objects are.
            tokens: Int[H, W].

        Raises:
            PromptError: the prompt is not understood.
            PlanError: the plan does not fit the prompt.
            SettingsError: the tokens are no grid of the target's size and codes.
        """
        target = self.bundle.manifest.target
        tokens = token_grid("tokens", tokens, target.vocabulary, (target.grid_height, target.grid_width))
        condition = self.describe(prompt, plan=plan).condition
        return token_log_probs(self.bundle, self.backend, condition, self.bundle.manifest.settings, tokens)

    def image_from_tokens(self, tokens: Tokens) -> Image.Image:
        """Decode tokens, Int[H, W], to an RGB image.

        Raises:
            SettingsError: they are no grid of the target's codes.
            BackendError: the decoder answers with pixels of another shape or dtype, or with some that are not finite.
        """
        return image_from_tokens(self.bundle, self.backend, tokens)
