"""config.pbtxt: what Triton has to know of the model."""

import json
from collections.abc import Iterable
from typing import Literal

from mulo_sd.engines.triton.fields import INPUTS, Tensor, outputs
from mulo_sd.engines.triton.options import ModelOptions, parameters_of

InstanceKind = Literal["cpu", "gpu"]
INDENT = "  "


def config_text(name: str, options: ModelOptions, size: tuple[int, int], kind: InstanceKind, instances: int) -> str:
    """Return a model's configuration in protobuf's text format.

    Args:
        name: Of the model.
        options: How it runs.
        size: Width and height of its images in pixels.
        kind: Where its instances are.
        instances: Processes that each load the bundle and draw on their own.
    """
    width, height = size
    lines = [
        f"# {_quoted(options.bundle)}, written by `mulo-sd triton`.",
        f"name: {_quoted(name)}",
        'backend: "python"',
        "max_batch_size: 0",
        "model_transaction_policy {",
        f"{INDENT}decoupled: true",
        "}",
        *_tensors("input", INPUTS),
        *_tensors("output", outputs(height, width)),
        "instance_group [",
        f"{INDENT}{{",
        f"{INDENT * 2}kind: KIND_{kind.upper()}",
        f"{INDENT * 2}count: {instances}",
        *([f"{INDENT * 2}gpus: [ 0 ]"] if kind == "gpu" else []),
        f"{INDENT}}}",
        "]",
        *(line for item in parameters_of(options).items() for line in _parameter(*item)),
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Return a text as protobuf's text format quotes it; other characters than ASCII as their bytes in octal."""
    plain = json.dumps(text, ensure_ascii=False)
    return "".join(one if one.isascii() else "".join(f"\\{byte:03o}" for byte in one.encode()) for one in plain)


def _tensors(kind: str, tensors: Iterable[Tensor]) -> list[str]:
    items = [line for tensor in tensors for line in _tensor(tensor)]
    return [f"{kind} [", *items[:-1], items[-1].removesuffix(","), "]"]


def _tensor(tensor: Tensor) -> list[str]:
    return [
        f"{INDENT}# {tensor.meaning}",
        f"{INDENT}{{",
        f"{INDENT * 2}name: {_quoted(tensor.name)}",
        f"{INDENT * 2}data_type: {tensor.kind}",
        f"{INDENT * 2}dims: [ {', '.join(map(str, tensor.shape))} ]",
        *([f"{INDENT * 2}optional: true"] if tensor.optional else []),
        f"{INDENT}}},",
    ]


def _parameter(name: str, value: str) -> list[str]:
    return [
        "parameters {",
        f"{INDENT}key: {_quoted(name)}",
        f"{INDENT}value: {{ string_value: {_quoted(value)} }}",
        "}",
    ]
