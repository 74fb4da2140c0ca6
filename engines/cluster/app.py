"""The application for Ray Serve: `serve run mulo_sd.engines.cluster.app:build`, or a config file's import_path."""

from typing import Any

from ray import serve

from mulo_sd.engines.bundle import open_bundle
from mulo_sd.engines.cluster.ingress import Ingress
from mulo_sd.engines.cluster.options import ClusterOptions
from mulo_sd.engines.cluster.replica import replica_class
from mulo_sd.engines.files.paths import expanded
from mulo_sd.engines.http.access import read_keys
from mulo_sd.engines.ingress.arguments import options_from_texts
from mulo_sd.engines.numbers import SettingsError

# Requests for images have limits of their own, whose answers are errors as the API has them; the rest are probes.
PROBES = 200
# Ray Serve's own limit answers with plain text: it comes after ours, and is for what the ingress cannot count.
MAX_QUEUED = 1000
HEALTH_SECONDS = 2
# A replica that hangs is replaced before its requests are late.
HANGING_SECONDS = 10


def build(args: dict[str, Any]) -> serve.Application:
    """Return the application.

    Args:
        args: Options of `ClusterOptions` by name, numbers or texts.

    Raises:
        SettingsError: an option is unknown, or none that it can be.
        BundleError: a bundle cannot be opened on this machine.
    """
    return build_from(options_from_texts(args, ClusterOptions))


def build_from(options: ClusterOptions) -> serve.Application:
    """Return the application of checked options.

    Raises:
        SettingsError: there is no bundle, or the file of keys cannot be used.
        BundleError: a bundle cannot be opened on this machine.
    """
    if not options.bundles:
        raise SettingsError("bundles: expected at least one folder by name, got none")
    for folder in options.bundles.values():
        open_bundle(expanded(folder))
    if options.api_key_file:
        read_keys(expanded(options.api_key_file))
    replicas = serve.deployment(
        replica_class(options),
        name="engine",
        **options.scale(),
        max_ongoing_requests=2 * options.size * min(len(options.bundles), options.bundles_each),
        graceful_shutdown_timeout_s=options.grace,
        graceful_shutdown_wait_loop_s=0.5,
        health_check_period_s=HEALTH_SECONDS,
        health_check_timeout_s=HANGING_SECONDS,
        max_constructor_retry_count=3,
        ray_actor_options={"num_cpus": options.cpus_each, "num_gpus": options.gpus_each},
    )
    ingress = serve.deployment(
        serve.ingress()(Ingress),
        name="ingress",
        num_replicas=options.ingresses,
        max_ongoing_requests=options.limits.open_requests + PROBES,
        max_queued_requests=MAX_QUEUED,
        graceful_shutdown_timeout_s=options.grace,
        graceful_shutdown_wait_loop_s=0.5,
        health_check_period_s=HEALTH_SECONDS,
        health_check_timeout_s=HANGING_SECONDS,
        ray_actor_options={"num_cpus": 0},
    )
    application: serve.Application = ingress.bind(options, replicas.bind(options))
    return application
