"""The options of the model, as its configuration holds them: texts by name, below `parameters`."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from mulo_sd.engines.ingress.arguments import options_from_texts
from mulo_sd.engines.ingress.options import EngineOptions
from mulo_sd.engines.numbers import SettingsError


class ModelOptions(EngineOptions):
    """How the model runs, and what it was exported from."""

    bundle: Annotated[str, Field(description="what the bundle calls itself")] = ""
    image_size: Annotated[str, Field(description="width and height of the images in pixels")] = ""
    manifest_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="of the bundle's manifest")]


def parameters_of(options: ModelOptions) -> dict[str, str]:
    """Return options as a configuration holds them; what has no value is left out."""
    content = options.model_dump()
    return {name: str(value) for name, value in content.items() if value is not None}


def options_of(config: Mapping[str, Any]) -> ModelOptions:
    """Return the options that a model's configuration holds.

    Args:
        config: As Triton gives it to the model, parsed; parameters in capital letters are Triton's own.

    Raises:
        SettingsError: one is unknown, or none that it can be.
    """
    parameters = config.get("parameters", {})
    texts = {name: value.get("string_value") for name, value in parameters.items() if not name.isupper()}
    if "manifest_sha256" not in texts:
        raise SettingsError("parameters: expected manifest_sha256, as `mulo-sd triton` writes it, got none")
    return options_from_texts(texts, ModelOptions)
