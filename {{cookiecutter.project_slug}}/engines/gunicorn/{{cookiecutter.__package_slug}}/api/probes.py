"""Whether this process is alive, and whether it can do its work: cheap to ask."""

import asyncio
from http import HTTPStatus
from time import monotonic

from fastapi import APIRouter, Request
from pydantic import BaseModel

from ..dirty.jobs import board
from . import problems
from .publisher import Publisher

# Seconds for which an answer of the broker counts.
FRESH = 1.0


class Health(BaseModel):
    status: str


class BrokerProbe:
    """One look at the broker for all who ask at about the same time."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._look: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")

    async def check(self) -> None:
        """Raises HTTPException when the broker does not answer."""
        if self._look is None or monotonic() - self._looked_at > FRESH:
            self._looked_at = monotonic()
            self._look = asyncio.create_task(self._publisher.run(_connect))
        await asyncio.shield(self._look)


def _connect() -> None:
    board().waiting()


routes = APIRouter(tags=["health"])


@routes.get("/healthz")
async def alive() -> Health:
    """Whether this process answers, whatever else is away."""
    return Health(status="alive")


@routes.get("/readyz", responses=problems.expected(HTTPStatus.SERVICE_UNAVAILABLE))
async def ready(request: Request) -> Health:
    """Whether it can take jobs: the broker answers."""
    probe: BrokerProbe = request.app.state.broker_probe
    await probe.check()
    return Health(status="ready")
