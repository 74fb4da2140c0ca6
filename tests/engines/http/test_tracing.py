"""Traces reach a collector: a span a request, below its client's, with what its image waited and took."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from mulo_sd.conformance.tools.serving.served import Served, bundle_argument
from mulo_sd.engines.http.tracing import OtelTracing
from mulo_sd.engines.numbers import SettingsError
from tests.engines.http.raw import generate

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """Takes spans by OTLP over HTTP."""

    def __init__(self) -> None:
        requests = self.requests = list[ExportTraceServiceRequest]()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def collector() -> Iterator[Collector]:
    one = Collector()
    yield one
    one.server.shutdown()
    one.server.server_close()


def test_spans_of_a_request(collector: Collector, minimal_bundle: Path) -> None:
    with Served(*bundle_argument("minimal", minimal_bundle), "--traces", collector.url) as served:
        generate(served.url, {"prompt": "a red star"}, traceparent=f"00-{TRACE}-{PARENT}-01")
        generate(served.url, {"prompt": "wrong"}, traceparent=f"00-{TRACE}-{PARENT}-01")
        assert served.end() == 0  # which sends what is left
    spans = [
        span
        for request in collector.requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
        if span.trace_id.hex() == TRACE
    ]
    requests = [span for span in spans if span.name == "POST /v1/images/generations"]
    assert {span.parent_span_id.hex() for span in requests} == {PARENT}
    statuses = [item.value.int_value for span in requests for item in span.attributes if "status" in item.key]
    assert sorted(statuses) == [200, 400]
    parts = {span.name: span for span in spans if span not in requests}
    assert set(parts) == {"wait", "decode"}
    decode = parts["decode"]
    assert parts["wait"].end_time_unix_nano == decode.start_time_unix_nano < decode.end_time_unix_nano
    assert decode.parent_span_id in [span.span_id for span in requests]
    assert {item.key for item in decode.attributes} >= {"mulo_sd.passes.target", "mulo_sd.acceptance_rate"}


def test_a_collector_that_is_no_url() -> None:
    with pytest.raises(SettingsError, match="traces: expected a URL"):
        OtelTracing("localhost:4318")
