"""What Prometheus reads at /metrics."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mulo_sd.engines.ingress.drawings import Outcome
from mulo_sd.engines.ingress.engine import Drawn, Load

SECONDS = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120)
TOKENS_A_PASS = (1, 2, 4, 8, 12, 16, 24, 32, 64, 128, 256, 512)
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1)


class Metrics:
    """Counters and histograms of one service, in a registry of its own."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self.registry, "namespace": "mulo_sd"}
        by_model = ("model",)
        self.requests = Counter("requests", "Requests that were answered", ("path", "status"), **own)
        self.request_seconds = Histogram(
            "request_seconds", "From a request's head to the end of its answer", ("path",), buckets=SECONDS, **own
        )
        self.open_requests = Gauge("open_requests", "Requests that are being answered", **own)
        self.orders = Counter(
            "orders",
            "Images that were asked for: drawn anew, joined to one like it, or cancelled",
            ("model", "outcome"),
            **own,
        )
        self.images = Counter("images", "Images that were drawn", by_model, **own)
        self.passes = Counter("passes", "Passes of images that were drawn", ("model", "pass_of"), **own)
        self.waited = Histogram(
            "waited_seconds", "From an order to the beginning of its decode", by_model, buckets=SECONDS, **own
        )
        self.seconds = Histogram("image_seconds", "Of a decode and its image", by_model, buckets=SECONDS, **own)
        self.tokens_a_pass = Histogram(
            "tokens_a_pass", "Tokens of an image for each pass of the target", by_model, buckets=TOKENS_A_PASS, **own
        )
        self.acceptance = Histogram(
            "acceptance_rate", "Share of draft tokens that the target accepted", by_model, buckets=SHARES, **own
        )

    def ordered(self, model: str, outcome: Outcome, count: int) -> None:
        """Count some orders of a model."""
        self.orders.labels(model, outcome).inc(count)

    def drawn(self, model: str, drawn: Drawn) -> None:
        """Count an image."""
        self.images.labels(model).inc()
        for name, count in drawn.passes.items():
            self.passes.labels(model, name).inc(count)
        self.waited.labels(model).observe(max(0.0, drawn.waited_seconds))
        self.seconds.labels(model).observe(drawn.stats.seconds)
        self.tokens_a_pass.labels(model).observe(drawn.tokens.size / drawn.stats.nfe_target)
        self.acceptance.labels(model).observe(drawn.stats.acceptance_rate)

    def watch(self, loads: Callable[[], Mapping[str, tuple[int, Load]]]) -> None:
        """Read how busy the engines are, and how many orders they have, whenever somebody asks."""
        self.registry.register(_LoadCollector(loads))

    def text(self) -> bytes:
        """Return all of them in Prometheus's text format."""
        return generate_latest(self.registry)


class _LoadCollector(Collector):
    """Gauges that are read when somebody asks."""

    def __init__(self, loads: Callable[[], Mapping[str, tuple[int, Load]]]) -> None:
        self.loads = loads

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return places in use, orders that wait, and bytes of keys and values, by model."""
        places = GaugeMetricFamily("mulo_sd_places_in_use", "Images that are being decoded", labels=["model"])
        waiting = GaugeMetricFamily("mulo_sd_queue", "Images that wait for a place", labels=["model"])
        kv_bytes = GaugeMetricFamily("mulo_sd_kv_bytes", "Memory of keys and values", labels=["model"])
        for model, (orders, load) in self.loads().items():
            places.add_metric([model], load.places)
            waiting.add_metric([model], max(0, orders - load.places))
            if load.kv_bytes is not None:
                kv_bytes.add_metric([model], load.kv_bytes)
        return places, waiting, kv_bytes
