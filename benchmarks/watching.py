"""What it takes to watch a worker: metrics, events, traces."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from . import candidates as known
from .arena import Arena, Candidate
from .draining import drained
from .servers import free_port
from .tables import Measurement, Row

# By default a short run would be over before the first are sent.
OFTEN = {"OTEL_BSP_SCHEDULE_DELAY": "500"}


class Sink(BaseHTTPRequestHandler):
    """Takes traces, and forgets them."""

    received = threading.Event()

    def do_POST(self) -> None:
        self.received.set()
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """A line for each request would cost more than the request."""


@contextmanager
def running_sink() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Sink) as sink:
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{sink.server_port}"
        finally:
            sink.shutdown()


def traced(arena: Arena, candidate: Candidate) -> dict[str, float]:
    with running_sink() as address:
        settings = {**candidate.settings, **OFTEN, "OTEL_EXPORTER_OTLP_ENDPOINT": address}
        Sink.received.clear()
        found = drained(arena, replace(candidate, settings=settings))
        if not Sink.received.is_set():
            raise RuntimeError("The worker has sent no traces")
        return found


def counted(arena: Arena, candidate: Candidate) -> dict[str, float]:
    settings = {**candidate.settings, "METRICS_PORT": str(free_port())}
    return drained(arena, replace(candidate, settings=settings))


UNWATCHED = known.rendered("nothing", "watched")
EVENTS = replace(UNWATCHED, worker=(*UNWATCHED.worker, "--task-events"))

WATCHING = Measurement(
    "watching",
    "2,000 jobs that do nothing, run by two processes of a rendered project without results, which "
    "is watched by",
    {
        "rate": "Jobs a second",
        "cpu": "CPU of the worker, µs a job",
        "commands": "Redis commands a job",
    },
    [
        Row("nothing", partial(drained, candidate=UNWATCHED)),
        Row("metrics", partial(counted, candidate=UNWATCHED)),
        Row("events", partial(drained, candidate=EVENTS)),
        Row("traces", partial(traced, candidate=UNWATCHED)),
    ],
    compared={"cpu": "CPU, times that of nothing"},
)
