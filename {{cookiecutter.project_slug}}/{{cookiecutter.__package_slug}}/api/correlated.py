"""Gives each request an id, which marks its lines in the log, and those of the jobs it submits."""

import re
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from ..logs import CORRELATION_ID

# A proxy in front of the API may have given one; it comes back with the answer.
HEADER = "X-Request-ID"
# Anything else would let a caller write what they like into the log.
GIVEN = re.compile(r"[\w.:-]{1,100}", re.ASCII)


class Correlated:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(HEADER, "")
        chosen = given if GIVEN.fullmatch(given) else uuid4().hex

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = chosen
            await send(message)

        with bound_contextvars(**{CORRELATION_ID: chosen}):
            await self._app(scope, receive, send_with_id)
