"""Write new decode settings and presets into a bundle's manifest."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from mulo_sd.engines.bundle.manifest import MANIFEST_NAME, MAX_PRESETS, BundleError, Manifest
from mulo_sd.engines.bundle.open import open_bundle
from mulo_sd.engines.files.paths import expanded
from mulo_sd.engines.files.whole_files import write_text_whole
from mulo_sd.engines.settings import Settings


def check_room_for(presets: Collection[str], manifest: Manifest) -> None:
    """Check that a bundle can hold further presets.

    Args:
        presets: Their names; one of a name that is there takes its place.
        manifest: Of the bundle.

    Raises:
        BundleError: there would be too many.
    """
    others = len(set(manifest.presets) - set(presets))
    if others + len(presets) > MAX_PRESETS:
        raise BundleError(
            f"{MANIFEST_NAME}: expected at most {MAX_PRESETS} presets with {' and '.join(presets)}, "
            f"got {others} others; take some out of it"
        )


def write_settings(folder: Path | str, settings: Settings, presets: Mapping[str, Settings]) -> None:
    """Replace a bundle's decode settings and some of its presets; the manifest is written as a whole.

    Args:
        folder: The bundle's folder.
        settings: From `Pipeline.settings`, which checks them against the bundle.
        presets: By name, checked likewise; those of other names stay.

    Raises:
        BundleError: the folder holds no bundle that can be opened, or one of too many presets.
    """
    folder = expanded(folder)
    manifest = open_bundle(folder).manifest
    check_room_for(presets, manifest)
    content = json.loads(manifest.model_dump_json())
    content["settings"] = settings.model_dump()
    content["presets"] |= {name: preset.model_dump() for name, preset in presets.items()}
    text = Manifest.model_validate(content).model_dump_json(indent=1) + "\n"
    write_text_whole(folder / MANIFEST_NAME, text)
