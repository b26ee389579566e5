"""Takes the place of what collects traces and errors, for the tests of both."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

MISSING = "uv run --group otel --group sentry pytest"
otlp = pytest.importorskip(
    "opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason=MISSING
)
pytest.importorskip("sentry_sdk", reason=MISSING)

Span = tuple[str, bytes]


@contextmanager
def receiving() -> Iterator[tuple[str, list[bytes]]]:
    """The address of a server that takes whatever is sent to it, and what that was."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            bodies.append(gzip.decompress(body) if self.headers["Content-Encoding"] else body)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            """Tests are told by what they assert."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", bodies
        server.shutdown()


def spans(bodies: list[bytes]) -> list[Span]:
    """Name and trace of each."""
    found = []
    for body in list(bodies):
        request = otlp.ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                found += [(span.name, span.trace_id) for span in scope.spans]
    return found
