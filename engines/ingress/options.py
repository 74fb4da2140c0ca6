"""The options of every ingress: each is declared once here, for command lines, files and pages of help."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mulo_sd.engines.ingress.limits import Limits
from mulo_sd.engines.numbers import MAX_SECONDS, MAX_THREADS, SettingsError
from mulo_sd.engines.service.session import MAX_AT_ONCE, MAX_WAITING

MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
Seconds = Annotated[float, Field(gt=0, le=MAX_SECONDS, allow_inf_nan=False)]


class EngineOptions(BaseModel):
    """What draws, how much at once, and what is kept."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    backend: Annotated[str, Field(description="what runs the graphs: ort, or as for mulo-sd generate")] = "ort"
    threads: Annotated[
        int | None, Field(ge=1, le=MAX_THREADS, description="CPU threads of a pass; default: the runtime's choice")
    ] = None
    text_model: Annotated[
        str | None, Field(description="flan-t5-xl, or Tar's language model; needs the extra `text`")
    ] = None
    size: Annotated[int, Field(ge=1, le=MAX_AT_ONCE, description="images that each model draws at once")] = 4
    workers: Annotated[
        int, Field(ge=1, le=MAX_AT_ONCE, description="threads that decode: on a CPU one a core, with one thread a pass")
    ] = 1
    queue: Annotated[int, Field(ge=0, le=MAX_WAITING, description="images that may wait beyond those")] = 64
    deadline: Annotated[Seconds, Field(description="seconds in which a request has its answer")] = 120.0
    max_prompt: Annotated[int, Field(ge=1, le=32_000, description="characters of a prompt")] = 4000
    keep_seconds: Annotated[
        Seconds, Field(description="seconds for which images are kept: repeated requests, URLs")
    ] = 300.0
    keep_mb: Annotated[int, Field(ge=0, le=2**20, description="megabytes of images that are kept")] = 256

    @property
    def limits(self) -> Limits:
        """The limits of requests."""
        return Limits(
            places=self.size,
            queue=self.queue,
            deadline=self.deadline,
            prompt_characters=self.max_prompt,
            kept_seconds=self.keep_seconds,
            kept_bytes=self.keep_mb * 2**20,
        )


Options = TypeVar("Options", bound=EngineOptions)


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
        expected = first["msg"].removeprefix("Value error, ").removeprefix("Input should be ").removeprefix("a valid ")
        expected = expected[:1].lower() + expected[1:]
        raise SettingsError(f"{name}: expected {expected}, got {first['input']!r:.80}") from None
