"""python -m engines.serve: draw over HTTP, as OpenAI's clients ask for images, and show decodes on a page."""

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mulo_sd.engines.backends import BackendError
from mulo_sd.engines.bundle import BundleError
from mulo_sd.engines.commands.backend_argument import add_backend_argument
from mulo_sd.engines.commands.command_line import UNUSABLE, command, program, purpose
from mulo_sd.engines.commands.demo_bundle import ready_demo_bundle
from mulo_sd.engines.condition import ConditionError
from mulo_sd.engines.files.paths import expanded, user_path
from mulo_sd.engines.http.access import Access, read_keys
from mulo_sd.engines.http.engine import Engine
from mulo_sd.engines.http.logs import flush, set_up
from mulo_sd.engines.http.options import MODEL_NAME, ServeOptions, make_options, read_options
from mulo_sd.engines.http.server import allow_connections, listen, serve
from mulo_sd.engines.http.service import Service
from mulo_sd.engines.http.session_engine import SessionEngine
from mulo_sd.engines.http.tracing import NoTracing, OtelTracing
from mulo_sd.engines.numbers import SettingsError
from mulo_sd.engines.service.load import load

# How an option's text is read; the others are texts.
NUMBERS: Mapping[object, type[int] | type[float]] = {int: int, int | None: int, float: float}
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program("engines.serve"), description=purpose(__doc__))
    parser.add_argument(
        "--config", type=user_path, metavar="FILE", help="TOML file of these options; one beside it comes first"
    )
    parser.add_argument(
        "--bundle",
        dest="bundles",
        action="append",
        metavar="NAME=DIR",
        default=argparse.SUPPRESS,
        help=ServeOptions.model_fields["bundles"].description,
    )
    add_backend_argument(parser, argparse.SUPPRESS)
    for name, field in ServeOptions.model_fields.items():
        if name in ("bundles", "backend"):
            continue
        default = "" if field.default is None else f"; default: {field.default}"
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=NUMBERS.get(field.annotation, str),
            default=argparse.SUPPRESS,
            help=f"{field.description}{default}",
        )
    return parser.parse_args()


def _options(arguments: argparse.Namespace) -> ServeOptions:
    named: dict[str, Any] = vars(arguments)
    config: Path | None = named.pop("config")
    if "bundles" in named:
        pairs = [_named_folder(text) for text in named["bundles"]]
        named["bundles"] = dict(pairs)
        if len(named["bundles"]) < len(pairs):
            raise SettingsError(f"bundle: expected a name of its own for each, got {', '.join(dict(pairs))} twice")
    return make_options((read_options(config) if config else {}) | named)


def _named_folder(text: str) -> tuple[str, str]:
    name, equals, folder = text.partition("=")
    if not equals or not folder or not re.fullmatch(MODEL_NAME, name):
        raise SettingsError(f"bundle: expected NAME=DIR, such as demo=bundles/demo-fp32, got {text!r:.80}")
    return name, folder


def _load(service: Service, options: ServeOptions) -> None:
    """Open all bundles."""
    folders = options.bundles or {"demo": str(ready_demo_bundle(options.backend, _say))}
    engines: dict[str, Engine] = {}
    for name, folder in folders.items():
        pipeline = load(expanded(folder), options.backend, options.threads, options.text_model)
        engines[name] = SessionEngine(name, pipeline, options.size)
    service.engines.update(engines)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@command
def main() -> int:
    """Serve until a signal ends it.

    Returns:
        0; 2 where it cannot begin.
    """
    arguments = _arguments()
    try:
        options = _options(arguments)
        access = read_keys(expanded(options.api_key_file)) if options.api_key_file else Access()
        tracing = OtelTracing(options.traces) if options.traces else NoTracing()
        service = Service({}, options.limits, access, tracing, options.public_url)
        try:
            listener = listen(options.host, options.port)
        except OSError as error:
            raise SettingsError(
                f"{options.host}:{options.port}: cannot listen there: {error.strerror or error}; give another --port"
            ) from None
        set_up(options.log_format)
        if options.host not in LOOPBACK and not access.needs_key:
            _say(f"warning: whoever reaches {options.host} may draw; give --api-key-file to ask for a key")
        allow_connections()
        loaded = asyncio.run(serve(service, listener, options.grace, lambda: _load(service, options), _say))
    except (SettingsError, BundleError, BackendError, ConditionError) as error:
        _say(f"error: {error}")
        return UNUSABLE
    tracing.close()
    flush()
    if not loaded:
        # A runtime's threads that still load a model abort a process that ends in order.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
