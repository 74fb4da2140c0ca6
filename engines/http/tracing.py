"""OpenTelemetry: a span a request, and below it what its images waited and took; nothing where nobody asks for it."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from mulo_sd.engines.ingress.engine import Drawn
from mulo_sd.engines.numbers import SettingsError

NANOSECONDS = 10**9


class Span(Protocol):
    """A request's span."""

    def set(self, name: str, value: str | float) -> None:
        """Set an attribute."""

    def image(self, drawn: Drawn) -> None:
        """Add the spans of an image that was drawn: its wait and its decode."""


class Tracing(Protocol):
    """Makes spans."""

    def request(self, name: str, headers: Mapping[str, str]) -> Any:
        """Return a context of a request's span, whose parent is in the headers (W3C's traceparent)."""

    def close(self) -> None:
        """Send what is left."""


class _NoSpan:
    """Takes everything and keeps nothing."""

    def set(self, name: str, value: str | float) -> None:
        """Keep nothing."""

    def image(self, drawn: Drawn) -> None:
        """Keep nothing."""


class NoTracing:
    """Makes no spans."""

    @contextmanager
    def request(self, name: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """Make none."""
        yield _NoSpan()

    def close(self) -> None:
        """Do nothing."""


class _OtelSpan:
    def __init__(self, tracer: Any, span: Any) -> None:
        self.tracer, self.span = tracer, span

    def set(self, name: str, value: str | float) -> None:
        """Set an attribute."""
        self.span.set_attribute(name, value)

    def image(self, drawn: Drawn) -> None:
        """Add the spans of an image, which ends now."""
        end = time.time_ns()
        begun = end - int(drawn.stats.seconds * NANOSECONDS)
        waited = self.tracer.start_span("wait", start_time=begun - int(drawn.waited_seconds * NANOSECONDS))
        waited.end(end_time=begun)
        decode = self.tracer.start_span("decode", start_time=begun)
        for name, count in drawn.passes.items():
            decode.set_attribute(f"mulo_sd.passes.{name}", count)
        decode.set_attribute("mulo_sd.acceptance_rate", drawn.stats.acceptance_rate)
        decode.end(end_time=end)


class OtelTracing:
    """Sends spans to a collector by OTLP over HTTP."""

    def __init__(self, endpoint: str) -> None:
        """Prepare; spans are sent from a thread of their own, and lost where nobody takes them.

        Args:
            endpoint: Such as http://127.0.0.1:4318/v1/traces.

        Raises:
            SettingsError: it is no URL, or OpenTelemetry is not installed.
        """
        if not endpoint.startswith(("http://", "https://")):
            raise SettingsError(f"traces: expected a URL such as http://127.0.0.1:4318/v1/traces, got {endpoint!r:.80}")
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        except ModuleNotFoundError:
            raise SettingsError(
                'traces: OpenTelemetry is not installed; install it with `pip install "mulo-sd[traces]"`'
            ) from None
        self.provider = TracerProvider(resource=Resource.create({"service.name": "mulo-sd"}))
        self.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
        self.tracer = self.provider.get_tracer("mulo_sd")
        self.propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, name: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """Make the span of a request."""
        parent = self.propagator.extract(dict(headers))
        with self.tracer.start_as_current_span(name, context=parent) as span:
            yield _OtelSpan(self.tracer, span)

    def close(self) -> None:
        """Send what is left."""
        self.provider.shutdown()
