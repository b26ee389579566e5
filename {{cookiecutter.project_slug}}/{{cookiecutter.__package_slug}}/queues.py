"""The queues, and which task waits in which."""

from enum import StrEnum
from functools import lru_cache


class Queue(StrEnum):
    """Kinds of work that must not wait for each other; `worker -Q io` serves one of them."""

    DEFAULT = "default"
    IO = "io"
    CPU = "cpu"


# What failed for good waits here for somebody to look at it. No worker serves it.
DEAD_LETTERS = "dead-letters"

# Name or pattern of tasks -> where they wait.
ROUTES = {
    "hello.*": Queue.DEFAULT,
    #{% if cookiecutter.include_sqlalchemy %}
    "orders.*": Queue.IO,
    #{% endif %}
    #{% if cookiecutter.include_aiocache %}
    "pages.*": Queue.IO,
    #{% endif %}
    #{% if cookiecutter.include_examples %}
    "email.*": Queue.IO,
    "etl.*": Queue.CPU,
    "failures.*": Queue.DEFAULT,
    "images.*": Queue.CPU,
    "reports.*": Queue.IO,
    "training.*": Queue.CPU,
    #{% endif %}
    #{% if cookiecutter.include_sqlalchemy and cookiecutter.include_examples %}
    "order_import.*": Queue.IO,
    #{% endif %}
}


@lru_cache
def queue_of(routing_key: str) -> str:
    """Where a message waited. A delayed one may carry before it how long it had to."""
    found = [queue for queue in Queue if f".{routing_key}".endswith(f".{queue}")]
    return str(max(found, key=len, default=Queue.DEFAULT))
