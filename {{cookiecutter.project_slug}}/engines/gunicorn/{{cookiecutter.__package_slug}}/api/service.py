"""The service as a whole: what waits, who works, and what failed for good."""

from http import HTTPStatus

from fastapi import APIRouter, Request
from pydantic import BaseModel

from ..dirty.bell import listening
from ..dirty.jobs import board
from ..queues import Queue
from . import guard, problems
from .look import Look

# Seconds for which an answer counts: the file is read no more often, however many look.
FRESH = 2.0


class Worker(BaseModel):
    name: str
    # Jobs that it runs at this moment.
    active: int


class Service(BaseModel):
    # Name of a queue -> how many jobs wait there.
    queues: dict[str, int]
    dead_letters: int
    workers: list[Worker]


def overview() -> Service:
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
    looked: Look[Service] = request.app.state.overview
    return await looked.answer()
