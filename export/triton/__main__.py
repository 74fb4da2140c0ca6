"""python -m export.triton --bundle DIR --out FOLDER: write bundles as a model repository of Triton Inference Server."""

import argparse
import hashlib
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any, NamedTuple

from mulo_sd.engines.backends import BackendError
from mulo_sd.engines.bundle import Bundle, BundleError
from mulo_sd.engines.bundle.open import open_bundle
from mulo_sd.engines.commands.backend_argument import add_backend_argument
from mulo_sd.engines.commands.command_line import INTERRUPTED, UNUSABLE, command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.files.paths import expanded, user_path
from mulo_sd.engines.ingress.arguments import BACKEND, add_option_arguments
from mulo_sd.engines.ingress.options import MODEL_NAME, EngineOptions, make_options
from mulo_sd.engines.numbers import SettingsError, whole_number
from mulo_sd.engines.triton.options import ModelOptions
from mulo_sd.export.own_bundle import BuildError
from mulo_sd.export.triton.config import InstanceKind, config_text
from mulo_sd.export.triton.containers import check_plans_for, tensorrt_of
from mulo_sd.export.triton.repository import (
    ExportedModel,
    check_outside_bundles,
    check_repository_place,
    manifest_bytes,
    write_repository,
)

MAX_INSTANCES = 64
MAX_VERSION = 2**31 - 1
ON_THE_CPU = ("ort",)
NAME_RULE = "NAME of at most 100 of A-Z, a-z, 0-9, '.', '_' and '-', the first one a letter or a digit"
NAMED = re.compile(rf"({MODEL_NAME[1:-1]})=(.+)", re.DOTALL)


class Plan(NamedTuple):
    """What the options ask for, beside the bundles."""

    options: dict[str, Any]
    kind: InstanceKind
    instances: int
    version: int
    tensorrt: str | None


def _arguments() -> argparse.Namespace:
    parser = command_parser("export.triton", __doc__)
    parser.add_argument(
        "--bundle",
        action="append",
        required=True,
        metavar="NAME=DIR",
        help="a bundle's folder, and what requests call its model; default: as the folder is called; may be repeated",
    )
    parser.add_argument("--out", type=user_path, required=True, metavar="FOLDER", help="the model repository")
    parser.add_argument("--force", action="store_true", help="replace a repository that this command wrote")
    add_backend_argument(parser)
    names = [name for name in EngineOptions.model_fields if name != BACKEND]
    add_option_arguments(parser, ModelOptions, names)
    parser.add_argument(
        "--instance-kind", choices=("cpu", "gpu"), help="default: cpu with --backend ort, else the first GPU"
    )
    parser.add_argument(
        "--instances",
        type=int,
        default=1,
        help="processes that each load the bundle and draw --size images at once; default: %(default)s",
    )
    parser.add_argument("--model-version", type=int, default=1, help="folder of the version; default: %(default)s")
    container = parser.add_mutually_exclusive_group()
    container.add_argument(
        "--container",
        metavar="TAG",
        help="of nvcr.io/nvidia/tritonserver, such as 26.07-trtllm-python-py3, of whose TensorRT the plans must be",
    )
    container.add_argument(
        "--tensorrt-version",
        metavar="VERSION",
        help="of TensorRT on the server, or of TensorRT for RTX, of which the plans must be",
    )
    return parser.parse_args()


def _plan(arguments: argparse.Namespace) -> Plan:
    """Return what the options ask for, checked as far as no bundle is needed.

    Raises:
        SettingsError: one is none that it can be.
    """
    options = {name: value for name, value in vars(arguments).items() if name in EngineOptions.model_fields}
    make_options(options, EngineOptions)
    on_the_cpu = arguments.backend in ON_THE_CPU
    return Plan(
        options,
        arguments.instance_kind or ("cpu" if on_the_cpu else "gpu"),
        whole_number("instances", arguments.instances, 1, MAX_INSTANCES),
        whole_number("model-version", arguments.model_version, 1, MAX_VERSION),
        tensorrt_of(arguments.container) if arguments.container else arguments.tensorrt_version,
    )


def _folders(texts: list[str]) -> dict[str, Path]:
    """Return the bundles' folders by the names of their models.

    Raises:
        SettingsError: a name is none that a model may have, or comes twice.
    """
    folders: dict[str, Path] = {}
    for text in texts:
        match = NAMED.fullmatch(text)
        is_misnamed = match is None and "=" in text and not os.path.isdir(text)  # noqa: PTH112  (names of any length)
        folder = expanded(match[2] if match else text)
        name = match[1] if match else folder.resolve().name
        if is_misnamed or not re.fullmatch(MODEL_NAME, name):
            raise SettingsError(
                f"bundle: expected NAME=DIR, such as demo=bundles/demo-fp32, {NAME_RULE}; got {text!r:.80}"
            )
        if name in folders:
            raise SettingsError(f"bundle: expected a name of its own for each, got {name} twice; give NAME=DIR")
        folders[name] = folder
    return folders


def _model(name: str, bundle: Bundle, plan: Plan) -> ExportedModel:
    """Return a bundle as a model.

    Raises:
        BuildError: its plans are of another TensorRT than the server's.
        SettingsError: the backend has no plans, and a version of TensorRT is given.
    """
    if plan.tensorrt is not None:
        check_plans_for(bundle, plan.options[BACKEND], plan.tensorrt)
    manifest, content = bundle.manifest, manifest_bytes(bundle)
    target = manifest.target
    size = (target.grid_width * manifest.token_pixels, target.grid_height * manifest.token_pixels)
    told = {
        "bundle": manifest.name,
        "image_size": f"{size[0]}x{size[1]}",
        "manifest_sha256": hashlib.sha256(content).hexdigest(),
    }
    options = make_options(plan.options | told, ModelOptions)
    return ExportedModel(
        name, plan.version, bundle, content, config_text(name, options, size, plan.kind, plan.instances)
    )


@command
def main() -> int:
    """Write a repository and print how to serve it.

    Returns:
        0; 2 where it cannot be written.
    """
    arguments = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        plan, folders = _plan(arguments), _folders(arguments.bundle)
        check_outside_bundles(arguments.out.resolve(), folders.values())
        check_repository_place(arguments.out.resolve(), arguments.force)
        models = [_model(name, open_bundle(folder), plan) for name, folder in folders.items()]
        write_repository(models, arguments.out, arguments.force)
    except (BackendError, BuildError, BundleError, SettingsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
    except OSError as error:
        print(f"error: {arguments.out}: cannot write the repository: {error.strerror or error}", file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        print("error: interrupted; no repository was written", file=sys.stderr)
        return INTERRUPTED
    for model in models:
        print(f"{arguments.out / model.name}: {model.bundle.manifest.name}, version {model.version}")
    print(f"serve it with `tritonserver --model-repository={arguments.out}` (docs/triton.md)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
