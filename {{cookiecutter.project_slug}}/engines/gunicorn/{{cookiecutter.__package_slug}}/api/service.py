"""The service as a whole: what waits, who works, and what failed for good."""

import asyncio
from http import HTTPStatus
from time import monotonic

from fastapi import APIRouter, Request
from pydantic import BaseModel

from ..dirty.bell import listening
from ..dirty.jobs import board
from ..queues import Queue
from . import guard, problems
from .publisher import Publisher

# Seconds for which an answer counts: the broker is asked no more often, however many look.
FRESH = 2.0


class Worker(BaseModel):
    name: str
    # Jobs that it runs at this moment.
    active: int


class Service(BaseModel):
    # Name of a queue -> how many tasks wait there.
    queues: dict[str, int]
    dead_letters: int
    workers: list[Worker]


class Overview:
    """One look for all who ask at about the same time."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._look: asyncio.Task[Service] | None = None
        self._looked_at = float("-inf")

    async def service(self) -> Service:
        """Raises HTTPException when the broker does not answer."""
        if self._look is None or monotonic() - self._looked_at > FRESH:
            self._looked_at = monotonic()
            self._look = asyncio.create_task(self._publisher.run(_look))
        return await asyncio.shield(self._look)


def _look() -> Service:
    waiting, running = board().waiting(), board().running()
    workers = [
        Worker(name=f"{queue}-{pid}", active=running.get(pid, 0))
        for queue in Queue
        for pid in listening(board().bells, queue)
    ]
    queues = {str(queue): waiting.get(queue, 0) for queue in Queue}
    return Service(queues=queues, dead_letters=board().count_dead(), workers=workers)


routes = APIRouter(tags=["service"], dependencies=guard.NEEDS_KEY, responses=guard.REFUSALS)


@routes.get("/api/service", responses=problems.expected(HTTPStatus.SERVICE_UNAVAILABLE))
async def service(request: Request) -> Service:
    """Queues, workers and dead letters, at most two seconds old."""
    overview: Overview = request.app.state.overview
    return await overview.service()
