"""Who may ask, how often, and how much: checked before a request costs anything."""

import hashlib
import secrets
from http import HTTPStatus
from math import ceil
from time import time

from fastapi import HTTPException, Request, Security
from fastapi.security import APIKeyHeader
from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from . import problems

# What a browser may do with what comes from here: nothing that leads anywhere else.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
# Bytes. Who sends no more than so many too much can read why they are refused: a connection that is
# closed while they send is an error to them, and nothing else.
DISCARDED = 10_000_000
API_KEY = APIKeyHeader(name="X-API-Key", auto_error=False, description="API_KEY of the service.")
# For the description of a route below /api/. `Guard` looks at the key.
NEEDS_KEY = [Security(API_KEY)]
REFUSALS = problems.expected(HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS)


class RateLimit:
    """So many requests in any stretch of this time, for each caller, in this process."""

    def __init__(self, rate: str) -> None:
        self._rate: RateLimitItem = parse(rate)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    async def check(self, caller: str) -> None:
        if not await self._limiter.hit(self._rate, caller):
            window = await self._limiter.get_window_stats(self._rate, caller)
            raise HTTPException(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"No more than {self._rate} are served. API_RATE_LIMIT sets how many.",
                {"Retry-After": str(max(1, ceil(window.reset_time - time())))},
            )


class Guard:
    """Lets pass who has a key, and less often than the limit: before anything is read of a body."""

    def __init__(self, app: ASGIApp, keys: list[str], rate: str) -> None:
        self._app, self._keys = app, keys
        self._limit = RateLimit(rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/api/"):
            try:
                await self._check(Request(scope))
            except HTTPException as refusal:
                answer = problems.response(
                    refusal.status_code, refusal.detail, headers=refusal.headers
                )
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _check(self, request: Request) -> None:
        key = request.headers.get("X-API-Key", "")
        given = key.encode()
        # Each is compared, so that the time tells nothing of the one that fits.
        fits = [secrets.compare_digest(given, known.encode()) for known in self._keys]
        if any(fits):
            await self._limit.check(hashlib.sha256(given).hexdigest())
            return
        await self._limit.check(request.client.host if request.client else "unknown")
        raise HTTPException(
            HTTPStatus.UNAUTHORIZED,
            f"The header X-API-Key is {'wrong' if key else 'missing'}: "
            "API_KEY of the service belongs there.",
            {"WWW-Authenticate": "X-API-Key"},
        )


class BodyLimit:
    """Refuses a body that is too long, and never keeps more of it than is allowed.

    Starlette's own refuses before the rest was read, and who sends it sees their connection break.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, length, more = b"", 0, True
        while more and length <= self._most + DISCARDED:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            length += len(message.get("body", b""))
            body = body + message.get("body", b"") if length <= self._most else b""
            more = message.get("more_body", False)
        if length > self._most:
            await self._refuse(scope, receive, send)
        else:
            await self._app(scope, _once(body, receive), send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        detail = f"The body has more than {self._most} bytes. API_MAX_BODY sets how many it may."
        headers = {"Connection": "close"}
        refusal = problems.response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, headers=headers)
        await refusal(scope, receive, send)


def _once(body: bytes, receive: Receive) -> Receive:
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return left.pop() if left else await receive()

    return replay


class SecurityHeaders:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)
