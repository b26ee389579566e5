"""Answers Prometheus on a port of its own, which nobody else needs to reach."""

import asyncio

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ..dirty.jobs import board
from ..dirty.measured_board import BoardState
from ..metric_files import registry
from ..settings import settings


class MetricsPort:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._registry = registry()
        self._registry.register(BoardState(board()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["server"][1] != settings.metrics_port:
            await self._app(scope, receive, send)
            return
        text = await asyncio.to_thread(generate_latest, self._registry)
        await Response(text, media_type=CONTENT_TYPE_LATEST)(scope, receive, send)
