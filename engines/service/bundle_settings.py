"""The settings of a decode by a bundle: its own or a preset's, changed, and held against what the bundle holds."""

from collections.abc import Mapping

from mulo_sd.engines.bundle import Manifest
from mulo_sd.engines.settings import UNDRAFTED_MODES, Settings, SettingsError


def settings_of(manifest: Manifest, preset: str | None, changes: Mapping[str, object]) -> Settings:
    """Return a bundle's settings with some changed.

    Args:
        manifest: The bundle's.
        preset: Whose settings are changed; None is the bundle's own.
        changes: Settings by name; None leaves one as it is, but makes a window infinite.

    Raises:
        SettingsError: a preset or setting is unknown, out of its range, or asks for what the bundle does not hold.
    """
    settings = (manifest.settings if preset is None else _preset(manifest, preset)).changed(**changes)
    _check(manifest, settings)
    return settings


def _preset(manifest: Manifest, name: object) -> Settings:
    if not isinstance(name, str) or name not in manifest.presets:
        names = ", ".join(manifest.presets)
        expected = f"one of {names}" if names else "none, since the bundle holds no presets"
        raise SettingsError(f"preset: expected {expected}, got {name!r:.80}")
    return manifest.presets[name]


def _check(manifest: Manifest, settings: Settings) -> None:
    limit, last = manifest.max_neighbours, len(manifest.models) - 1
    if settings.neighbours > limit:
        raise SettingsError(f"neighbours: expected at most {limit}, as the bundle holds, got {settings.neighbours}")
    if last == 0 and settings.decoding.drafts:
        expected = "one of " + ", ".join(UNDRAFTED_MODES)
        raise SettingsError(f"mode: expected {expected}, since the bundle holds no drafter, got {settings.mode!r}")
    if settings.model_numbers[-1] > last:
        raise SettingsError(f"drafters: expected models in 1..{last}, got {settings.model_numbers[-1]}")
    mode = settings.decoding
    needed = {
        "a head": mode.has_head and manifest.head is None,
        "a block drafter": mode.draft == "block" and manifest.block is None,
        "the graph target_branched": mode.needs_branches and manifest.branched is None,
    }
    for what, is_missing in needed.items():
        if is_missing:
            raise SettingsError(
                f"mode {settings.mode}: expected a bundle with {what}, got {manifest.name}, which has "
                "none; build it again, from models that have one, or choose another mode"
            )
    for graph, name in manifest.graphs_of(settings).items():
        if graph not in manifest.graphs:
            prefix = graph.removesuffix(getattr(settings, name))
            there = ", ".join(other.removeprefix(prefix) for other in manifest.graphs if other.startswith(prefix))
            raise SettingsError(f"{name}: expected one of {there or 'none'}, got {getattr(settings, name)!r}")
