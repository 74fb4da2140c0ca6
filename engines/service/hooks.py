"""What looks at a decode while it runs, or decides for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from mulo_sd.engines.loop.decode import Decoder, Progress
from mulo_sd.engines.loop.state import ModelState
from mulo_sd.engines.loop.verify import Accepted
from mulo_sd.engines.numbers import SettingsError, truth

# Callbacks that may be missing.
OPTIONAL = ("step", "accepted")


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


def _watch_nothing(decoder: Decoder) -> None:
    """Look at nothing."""


@dataclass(frozen=True)
class Hooks:
    """Callbacks of a decode, and what its trace keeps.

    Attributes:
        progress: Called after every step of the target with the cells decided and the cells of the image.
        record_logits: Keep the logits of every pass in the trace.
        watch: Called with the decoder before it starts.
        step: Called with the decoder and the state of the model that makes a pass, before the pass, prefills aside; and
            after every verification, with the state of the model that verified.
        accepted: Replaces the acceptance rule, for measurements: `conformance.bench` replays acceptances with it.

    Raises:
        SettingsError: a callback cannot be called, or `record_logits` is no boolean.
    """

    progress: Progress = no_progress
    record_logits: bool = False
    watch: Callable[[Decoder], None] = _watch_nothing
    step: Callable[[Decoder, ModelState], None] | None = None
    accepted: Accepted | None = None

    def __post_init__(self) -> None:
        """Check them, so that a wrong one is refused before anything is drawn."""
        truth("record_logits", self.record_logits)
        for name in ("progress", "watch", "step", "accepted"):
            callback: object = getattr(self, name)
            if not callable(callback) and (name not in OPTIONAL or callback is not None):
                raise SettingsError(f"{name}: expected a function, got {callback!r:.80}")


NO_HOOKS = Hooks()


def split_options(options: Mapping[str, Any]) -> tuple[Hooks, dict[str, Any]]:
    """Return the hooks among a caller's options, and the others, which are settings.

    Raises:
        SettingsError: as `Hooks`.
    """
    names = {field.name for field in fields(Hooks)}
    hooks = Hooks(**{name: value for name, value in options.items() if name in names})
    return hooks, {name: value for name, value in options.items() if name not in names}
