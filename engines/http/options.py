"""The options of the service over HTTP, beside those of every ingress, and the file that holds them."""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from mulo_sd.engines.files.text_files import TextFileError, read_text
from mulo_sd.engines.http.logs import LogFormat
from mulo_sd.engines.ingress.limits import Limits
from mulo_sd.engines.ingress.options import MODEL_NAME, EngineOptions
from mulo_sd.engines.numbers import MAX_SECONDS, SettingsError

MAX_FILE_BYTES = 2**18


class ServeOptions(EngineOptions):
    """How the service runs."""

    bundles: Annotated[
        dict[Annotated[str, Field(pattern=MODEL_NAME)], str],
        Field(
            max_length=64,
            description="models by name, each a bundle's folder; demo or pictograms alone is ours, built if missing; "
            "default: demo",
        ),
    ] = Field(default_factory=dict)
    grace: Annotated[float, Field(ge=0, le=MAX_SECONDS, description="seconds for requests to end after SIGTERM")] = 30.0
    host: Annotated[str, Field(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="port to listen on; 0 is any that is free")] = 8000
    public_url: Annotated[
        str | None, Field(pattern=r"^https?://[^\s]+$", description="what URLs of images begin with, behind a proxy")
    ] = None
    api_key_file: Annotated[str | None, Field(description="file of keys, one a line, that /v1 asks for")] = None
    max_body_kb: Annotated[int, Field(ge=1, le=2**16, description="kilobytes of a request's body")] = 256
    log_format: Annotated[LogFormat, Field(description="json, or text for eyes")] = "json"
    traces: Annotated[str | None, Field(description="URL of an OTLP collector; needs the extra `traces`")] = None

    @property
    def limits(self) -> Limits:
        """The limits of requests."""
        return replace(super().limits, body_bytes=self.max_body_kb * 1024)


def read_options(path: Path) -> dict[str, Any]:
    """Read options from a TOML file, by name; names may have - or _, and a table [bundles] names folders.

    Raises:
        SettingsError: it cannot be read, or is no TOML.
    """
    try:
        content = tomllib.loads(read_text(path, MAX_FILE_BYTES, "options"))
    except TextFileError as error:
        raise SettingsError(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: expected TOML: {error}".splitlines()[0]) from None
    return {name.replace("-", "_"): value for name, value in content.items()}
