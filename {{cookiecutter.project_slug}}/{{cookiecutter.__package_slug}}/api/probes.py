"""Whether this process is alive, and whether it can do its work: cheap to ask."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from ..celery import app
from ..queues import Queue
from . import problems
from .publisher import Look, connection

# Seconds for which an answer of the broker counts.
FRESH = 1.0


class Health(BaseModel):
    status: str


def reach_broker() -> None:
    """Raises what its driver raises when it cannot be reached."""
    queue: Any = app.amqp.queues[Queue.DEFAULT]
    with connection() as made:
        made.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        with made.channel() as channel:
            # Not every broker is asked something by a connection alone.
            queue(channel).queue_declare()


routes = APIRouter(tags=["health"])


@routes.get("/healthz")
async def alive() -> Health:
    """Whether this process answers, whatever else is away."""
    return Health(status="alive")


@routes.get("/readyz", responses=problems.expected(HTTPStatus.SERVICE_UNAVAILABLE))
async def ready(request: Request) -> Health:
    """Whether it can take jobs: the broker answers."""
    broker: Look[None] = request.app.state.broker
    await broker.answer()
    return Health(status="ready")
