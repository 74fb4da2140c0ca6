"""Join a Ray cluster, or begin one of this machine that ends with its process."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from mulo_sd.engines.cluster.last_words import last_words
from mulo_sd.engines.numbers import SettingsError

LOOPBACK = "127.0.0.1"
CONNECT_SECONDS = 5.0


@contextmanager
def joined_cluster(address: str | None, ended: str, log_to_driver: bool = True) -> Iterator[None]:
    """Be part of a cluster until the end.

    Args:
        address: "auto" or HOST:PORT; None begins one of this machine.
        ended: What to do where the cluster, or a signal, ends this process.
        log_to_driver: Whether what the cluster's processes print comes to this one's standard error.

    Raises:
        SettingsError: there is no such cluster, or none can be begun.
    """
    with last_words(f"error: ray: the cluster or a signal ended the command; {ended}"):
        _join(address, log_to_driver)
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        try:
            yield
        finally:
            ray.shutdown()


def _join(address: str | None, log_to_driver: bool) -> None:
    if address is not None:
        _check_reachable(address)
    options = {"logging_level": "ERROR", "log_to_driver": log_to_driver}
    try:
        if address is None:
            # Its log into Ray's files; what ingress and replicas log themselves comes to standard error.
            os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")
            ray.init("local", include_dashboard=False, _node_ip_address=LOOPBACK, **options)
        else:
            ray.init(address, **options)
    except ValueError:
        raise SettingsError(f"ray-address: expected auto or HOST:PORT of a cluster, got {address!r:.100}") from None
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        advice = "" if address in (None, "auto") else "; its token belongs into ~/.ray/auth_token (docs/cluster.md)"
        raise SettingsError(f"ray-address: cannot join a cluster: {reason:.300}{advice}") from None


def _check_reachable(address: str) -> None:
    """Check that something listens at HOST:PORT: Ray would try for minutes.

    Raises:
        SettingsError: nothing does.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and len(port) <= len("65535") and "/" not in address:
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SettingsError(
                f"ray-address: expected a cluster at {address}, got none: {reason}; `ray start --head` begins one"
            ) from None
