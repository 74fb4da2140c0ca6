"""Serve from a cluster: join it or begin one, run the application there, and end it in order."""

import os
import re
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

import ray
from ray import serve
from ray.serve.exceptions import RayServeException
from ray.serve.schema import LoggingConfig

from mulo_sd.engines.backends import BackendError
from mulo_sd.engines.cluster.app import build_from
from mulo_sd.engines.cluster.daemons import Daemons
from mulo_sd.engines.cluster.join import joined_cluster
from mulo_sd.engines.cluster.options import ClusterOptions
from mulo_sd.engines.cluster.room import check_room
from mulo_sd.engines.files.paths import expanded
from mulo_sd.engines.http.server import listen, url_of
from mulo_sd.engines.ingress.errors import one_line
from mulo_sd.engines.numbers import SettingsError

# Above the service's own end of draining, in which it refuses who is left.
LAST_SECONDS = 10.0
WATCH_SECONDS = 1.0
# The ingress logs requests; Ray Serve's own lines of them would say the same.
QUIET = LoggingConfig(log_level="WARNING", enable_access_log=False)


def serve_on_ray(options: ClusterOptions, say: Callable[[str], Any]) -> None:
    """Serve until a signal ends it.

    Args:
        options: With at least one bundle.
        say: Called with a line for who started it, when images can be asked for.

    Raises:
        SettingsError: there is no such cluster, it has no room for the replicas, or nothing can listen at the port.
        BundleError: a bundle cannot be opened.
        BackendError: no engine replica can be started.
    """
    folders = {name: str(expanded(folder).resolve()) for name, folder in options.bundles.items()}
    options = options.model_copy(update={"bundles": folders})  # replicas have other working folders
    application = build_from(options)
    # Ray gives its workers a niceness of 15, which suits batches: beside other work a service would hardly run.
    os.environ.setdefault("RAY_worker_niceness", "0")
    with suppress(_EndedEarlyError), _Signals() as signals, joined_cluster(options.ray_address, "start it again"):
        if options.ray_address is None:
            resources = ray.cluster_resources()
            check_room("replicas", options.replicas, options.cpus_each, "CPU", resources)
            check_room("replicas", options.replicas, options.gpus_each, "GPU", resources)
        signals.take()  # Ray has taken them meanwhile
        _check_name(options.app_name)
        url = _start_proxies(options)
        try:
            ingress = serve.run(application, name=options.app_name, route_prefix="/", logging_config=QUIET)
        except (RuntimeError, RayServeException) as error:
            raise BackendError(_reason(options.app_name, error)) from None
        say(_welcome(url))
        daemons = Daemons()
        while not signals.wait(WATCH_SECONDS):
            daemons.end_with_them()
        ending = threading.Thread(target=_end, args=(ingress, options), daemon=True)
        ending.start()
        ends_at = time.monotonic() + options.grace + 2 * LAST_SECONDS
        while ending.is_alive() and time.monotonic() < ends_at:
            daemons.end_with_them()
            ending.join(WATCH_SECONDS)


def _end(ingress: Any, options: ClusterOptions) -> None:
    """Drain and delete the application."""
    with suppress(Exception):  # a replica that dies now drains nothing
        ingress.broadcast("drain", options.grace).results(timeout_s=options.grace + LAST_SECONDS)
    with suppress(Exception):
        serve.delete(options.app_name)


def _welcome(url: str | None) -> str:
    if url is None:
        return "mulo-sd: the cluster's own proxies lead here, wherever they listen; Ctrl-C ends it"
    return f"mulo-sd: {url}/ draws, {url}/v1 is for OpenAI's clients; Ctrl-C ends it"


class _EndedEarlyError(BaseException):
    """A signal came before the application ran; as an interrupt, no handler of errors takes it."""


class _Signals:
    """The first signal ends `wait`, or, before that was called, the block; so does the second one, whenever."""

    def __init__(self) -> None:
        self._ended, self._waits = threading.Event(), False
        self._before: dict[int, Any] = {}

    def take(self) -> None:
        """Take the signals."""
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.signal(number, self._end)
            self._before.setdefault(number, before)

    def wait(self, seconds: float) -> bool:
        """Wait for the first one, but no longer than this; return whether it came."""
        self._waits = True
        return self._ended.wait(seconds)

    def _end(self, number: int, _: object) -> None:
        if self._ended.is_set() or not self._waits:
            raise _EndedEarlyError
        self._ended.set()

    def __enter__(self) -> Self:
        self.take()
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _check_name(name: str) -> None:
    """Check that the cluster has no such application: it would be replaced, and deleted at the end.

    Raises:
        SettingsError: it has.
    """
    if name in serve.status().applications:
        raise SettingsError(
            f"app-name: expected one that is free, got {name}, which runs already; give another --app-name, or end "
            f"that one with `serve delete {name}`"
        )


def _start_proxies(options: ClusterOptions) -> str | None:
    """Start what listens for HTTP, and return its URL; None where the cluster serves already, by its own proxies.

    Raises:
        SettingsError: the port is taken.
    """
    if serve.status().proxies:
        return None
    with listen(options.host, options.port) as listener:
        port, url = listener.getsockname()[1], url_of(listener)
    location = "HeadOnly" if options.ray_address is None else "EveryNode"
    serve.start(location, http_options={"host": options.host, "port": port}, logging_config=QUIET)
    return url


def _reason(name: str, error: Exception) -> str:
    """Return why the application does not run, in one line."""
    application = serve.status().applications.get(name)
    messages = [item.message for item in application.deployments.values() if item.message] if application else []
    lines = [line.strip() for message in messages for line in message.splitlines() if line.strip()]
    told = [line for line in lines if "Error" in line.partition(":")[0]]
    last = re.sub(r"^[\w.]+\.(?=\w+Error: )", "", (told or lines or [one_line(error)])[-1])
    return f"engine replicas: cannot be started: {last:.400}"
