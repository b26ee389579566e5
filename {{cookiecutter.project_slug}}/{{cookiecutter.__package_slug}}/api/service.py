"""The service as a whole: what waits, who works, and what failed for good."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from ..broker import DEAD_LETTERS_QUEUE
from ..celery import app
from . import guard, problems
from .look import Look

# Seconds for which an answer counts: the broker is asked no more often, however many look.
FRESH = 2.0
#{% if cookiecutter.__broker != "sqs" %}
# Seconds that workers have to answer.
PATIENCE = 0.5
#{% endif %}


#{% if cookiecutter.__broker != "sqs" %}
class Worker(BaseModel):
    name: str
    # Tasks that it runs at this moment.
    active: int


#{% endif %}
class Service(BaseModel):
    # Name of a queue -> how many tasks wait there.
    queues: dict[str, int]
    dead_letters: int
    #{% if cookiecutter.__broker != "sqs" %}
    workers: list[Worker]
    #{% endif %}


def overview() -> Service:
    """Raises what the broker's driver raises when it does not answer."""
    connection: Any
    with app.producer_pool.acquire(block=True) as producer:
        connection = producer.connection
        connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        with connection.channel() as channel:
            queues = {name: _waiting(queue, channel) for name, queue in app.amqp.queues.items()}
            dead_letters = _waiting(DEAD_LETTERS_QUEUE, channel)
        #{% if cookiecutter.__broker != "sqs" %}
        active = app.control.inspect(timeout=PATIENCE, connection=connection).active() or {}
        workers = [Worker(name=name, active=len(active[name])) for name in sorted(active)]
        return Service(queues=queues, dead_letters=dead_letters, workers=workers)
        #{% endif %}
        #{% if cookiecutter.__broker == "sqs" %}
        return Service(queues=queues, dead_letters=dead_letters)
        #{% endif %}


def _waiting(queue: Any, channel: Any) -> int:
    return int(queue(channel).queue_declare().message_count)


routes = APIRouter(tags=["service"], dependencies=guard.NEEDS_KEY, responses=guard.REFUSALS)


@routes.get("/api/service", responses=problems.expected(HTTPStatus.SERVICE_UNAVAILABLE))
async def service(request: Request) -> Service:
    """Queues, workers and dead letters, at most two seconds old."""
    looked: Look[Service] = request.app.state.overview
    return await looked.answer()
