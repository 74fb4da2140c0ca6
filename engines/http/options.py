"""The options of the service: each is declared once here, for the command line, a TOML file and the page of help."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mulo_sd.engines.files.text_files import TextFileError, read_text
from mulo_sd.engines.http.limits import Limits
from mulo_sd.engines.http.logs import LogFormat
from mulo_sd.engines.numbers import MAX_SECONDS, MAX_THREADS, SettingsError
from mulo_sd.engines.service.session import MAX_AT_ONCE, MAX_WAITING

MAX_FILE_BYTES = 2**18
MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS, allow_inf_nan=False)]


class ServeOptions(BaseModel):
    """How the service runs."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    bundles: Annotated[
        dict[Annotated[str, Field(pattern=MODEL_NAME)], str],
        Field(max_length=64, description="models by name, each a bundle's folder; none is the demo, built if missing"),
    ] = {}
    backend: Annotated[str, Field(description="what runs the graphs: ort, or as for mulo-sd generate")] = "ort"
    threads: Annotated[
        int | None, Field(ge=1, le=MAX_THREADS, description="CPU threads of a pass; default: the runtime's choice")
    ] = None
    text_model: Annotated[
        str | None, Field(description="flan-t5-xl, or Tar's language model; needs the extra `text`")
    ] = None
    size: Annotated[int, Field(ge=1, le=MAX_AT_ONCE, description="images that each model draws at once")] = 4
    queue: Annotated[int, Field(ge=0, le=MAX_WAITING, description="images that may wait beyond those")] = 64
    deadline: Annotated[Seconds, Field(description="seconds in which a request has its answer")] = 120.0
    grace: Annotated[float, Field(ge=0, le=MAX_SECONDS, description="seconds for requests to end after SIGTERM")] = 30.0
    host: Annotated[str, Field(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="port to listen on; 0 is any that is free")] = 8000
    public_url: Annotated[
        str | None, Field(pattern=r"^https?://[^\s]+$", description="what URLs of images begin with, behind a proxy")
    ] = None
    api_key_file: Annotated[str | None, Field(description="file of keys, one a line, that /v1 asks for")] = None
    max_body_kb: Annotated[int, Field(ge=1, le=2**16, description="kilobytes of a request's body")] = 256
    max_prompt: Annotated[int, Field(ge=1, le=32_000, description="characters of a prompt")] = 4000
    keep_seconds: Annotated[
        Seconds, Field(description="seconds for which images are kept: repeated requests, URLs")
    ] = 300.0
    keep_mb: Annotated[int, Field(ge=0, le=2**20, description="megabytes of images that are kept")] = 256
    log_format: Annotated[LogFormat, Field(description="json, or text for eyes")] = "json"
    traces: Annotated[str | None, Field(description="URL of an OTLP collector; needs the extra `traces`")] = None

    @property
    def limits(self) -> Limits:
        """The limits of requests."""
        return Limits(
            places=self.size,
            queue=self.queue,
            deadline=self.deadline,
            body_bytes=self.max_body_kb * 1024,
            prompt_characters=self.max_prompt,
            kept_seconds=self.keep_seconds,
            kept_bytes=self.keep_mb * 2**20,
        )


Options = TypeVar("Options", bound=ServeOptions)


def make_options(content: Mapping[str, Any], kind: type[Options]) -> Options:
    """Return options by name, checked.

    Args:
        content: By name; a name may have - or _, and a whole number stands for seconds, too.
        kind: Which options there are.

    Raises:
        SettingsError: one is unknown, or none that it can be.
    """
    named = {name.replace("-", "_"): value for name, value in content.items()}
    for name, value in named.items():
        if type(value) is int and name in kind.model_fields and kind.model_fields[name].annotation is float:
            named[name] = float(value)
    try:
        return kind.model_validate(named)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"][:2])).replace("_", "-")
        if first["type"] == "extra_forbidden":
            known = ", ".join(field.replace("_", "-") for field in kind.model_fields)
            raise SettingsError(f"{name:.80}: expected one of {known}") from None
        expected = first["msg"].removeprefix("Input should be ").removeprefix("a valid ")
        expected = expected[:1].lower() + expected[1:]
        raise SettingsError(f"{name}: expected {expected}, got {first['input']!r:.80}") from None


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
