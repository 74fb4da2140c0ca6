"""python -m engines.serve: draw over HTTP, as OpenAI's clients ask for images, and show decodes on a page."""

import argparse
import asyncio
import os
import sys
from typing import Any

from mulo_sd.engines.backends import BackendError
from mulo_sd.engines.bundle import BundleError
from mulo_sd.engines.cluster.options import CLUSTER_ONLY, ClusterOptions
from mulo_sd.engines.cluster.token import take_token
from mulo_sd.engines.commands.backend_argument import add_backend_argument
from mulo_sd.engines.commands.command_line import UNUSABLE, command
from mulo_sd.engines.commands.command_parser import command_parser
from mulo_sd.engines.commands.demo_bundle import ready_bundle
from mulo_sd.engines.condition import ConditionError
from mulo_sd.engines.files.paths import expanded
from mulo_sd.engines.http.access import Access, read_keys
from mulo_sd.engines.http.arguments import add_serve_arguments, options_from_arguments
from mulo_sd.engines.http.logs import flush, set_up
from mulo_sd.engines.http.options import ServeOptions
from mulo_sd.engines.http.server import allow_connections, listen, serve
from mulo_sd.engines.http.service import Service
from mulo_sd.engines.http.tracing import NoTracing, OtelTracing
from mulo_sd.engines.ingress.arguments import add_option_arguments
from mulo_sd.engines.ingress.engine import Engine
from mulo_sd.engines.ingress.session_engine import SessionEngine
from mulo_sd.engines.numbers import SettingsError
from mulo_sd.engines.service.load import load

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _arguments() -> argparse.Namespace:
    parser = command_parser("engines.serve", __doc__)
    add_serve_arguments(parser)
    add_backend_argument(parser, argparse.SUPPRESS)
    cluster = parser.add_argument_group("on a cluster", "With --ray, which needs the extra `ray` (docs/cluster.md).")
    cluster.add_argument("--ray", action="store_true", help="serve from engine replicas, by Ray Serve")
    add_option_arguments(cluster, ClusterOptions, list(CLUSTER_ONLY))
    return parser.parse_args()


def _options(arguments: argparse.Namespace) -> ServeOptions:
    """Return the options: a cluster's with --ray.

    Raises:
        SettingsError: one is unknown, none that it can be, or a cluster's without --ray.
    """
    named: dict[str, Any] = vars(arguments)
    on_ray: bool = named.pop("ray")
    alone = [name for name in CLUSTER_ONLY if name in named]
    if alone and not on_ray:
        raise SettingsError(f"{alone[0].replace('_', '-')}: expected --ray beside it, got none")
    return options_from_arguments(named, ClusterOptions if on_ray else ServeOptions)


def _load(service: Service, options: ServeOptions) -> None:
    """Open all bundles."""
    engines: dict[str, Engine] = {}
    for name, folder in _bundles(options).items():
        pipeline = load(folder, options.backend, options.threads, options.text_model)
        engines[name] = SessionEngine(name, pipeline, options.size, options.workers)
    service.engines.update(engines)


def _bundles(options: ServeOptions) -> dict[str, str]:
    """Return the folders of the bundles by name, built where they go by a name; the demo's where none is given."""
    asked = options.bundles or {"demo": "demo"}
    return {name: str(ready_bundle(expanded(folder), options.backend, _say)) for name, folder in asked.items()}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _warn_of_open_doors(options: ServeOptions) -> None:
    if options.host not in LOOPBACK and not options.api_key_file:
        _say(f"warning: whoever reaches {options.host} may draw; give --api-key-file to ask for a key")


def _serve_here(options: ServeOptions) -> None:
    """Serve from this process until a signal ends it.

    Raises:
        Exception: why it cannot begin.
    """
    access = read_keys(expanded(options.api_key_file)) if options.api_key_file else Access()
    tracing = OtelTracing(options.traces) if options.traces else NoTracing()
    service = Service({}, options.limits, access, tracing, options.public_url)
    listener = listen(options.host, options.port)
    set_up(options.log_format)
    _warn_of_open_doors(options)
    allow_connections()
    loaded = asyncio.run(serve(service, listener, options.grace, lambda: _load(service, options), _say))
    tracing.close()
    flush()
    if not loaded:
        # A runtime's threads that still load a model abort a process that ends in order.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _serve_on_ray(options: ClusterOptions) -> None:
    """Serve from a cluster until a signal ends it.

    Raises:
        Exception: why it cannot begin.
    """
    take_token(options.ray_address)
    from mulo_sd.engines.cluster.serve import serve_on_ray  # the extra `ray`

    _warn_of_open_doors(options)
    serve_on_ray(options.model_copy(update={"bundles": _bundles(options)}), _say)


@command
def main() -> int:
    """Serve until a signal ends it.

    Returns:
        0; 2 where it cannot begin.
    """
    arguments = _arguments()
    try:
        options = _options(arguments)
        if isinstance(options, ClusterOptions):
            _serve_on_ray(options)
        else:
            _serve_here(options)
    except (SettingsError, BundleError, BackendError, ConditionError) as error:
        _say(f"error: {error}")
        return UNUSABLE
    return 0


if __name__ == "__main__":
    sys.exit(main())
