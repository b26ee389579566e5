"""Counts requests, and how long callers wait for an answer."""

import time

from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Whoever calls may make up others, and each would be a series.
METHODS = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}

REQUESTS = Counter("http_requests", "Requests that were answered.", ["method", "handler", "status"])
DURATION = Histogram(
    "http_request_duration_seconds",
    "Seconds until an answer began; a stream of events goes on after that.",
    ["method", "handler"],
    buckets=(0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
)


class Measured:
    """Sees every request, whatever becomes of it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def note(message: Message) -> None:
            if message["type"] == "http.response.start":
                method = scope["method"] if scope["method"] in METHODS else "other"
                # The path as it was declared: each job's own would be a series.
                handler = getattr(scope.get("route"), "path", "other")
                REQUESTS.labels(method, handler, message["status"]).inc()
                DURATION.labels(method, handler).observe(time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, note)
