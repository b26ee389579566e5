"""What the broker is told: how its queues are declared, and how a connection behaves."""

#{% if cookiecutter.__broker != "sqs" %}
import math
#{% endif %}
from typing import Any

import kombu
#{% if cookiecutter.__broker != "rabbitmq" %}
from kombu.transport import TRANSPORT_ALIASES
#{% endif %}

from .queues import DEAD_LETTERS, Queue
from .settings import settings

#{% if cookiecutter.__broker == "redis" %}
QUEUES = [kombu.Queue(name, kombu.Exchange(name), routing_key=name) for name in Queue]
DEAD_LETTERS_QUEUE = kombu.Queue(DEAD_LETTERS)
TRANSPORT_OPTIONS: dict[str, Any] = {
    "visibility_timeout": settings.visibility_timeout,
    "lease": settings.task_lease,
    # Often enough that a worker which lives never loses its tasks.
    "unacked_restore_interval": settings.task_lease / 4,
    # Without a timeout a connection that died silently is waited on for ever. A worker has several,
    # and finds out about one after the other.
    "socket_timeout": 4,
    "socket_connect_timeout": 4,
    "socket_keepalive": True,
    "health_check_interval": 3,
    # Without RELIABLE_FETCH, tasks that end at the same time are each acknowledged over a
    # connection of their own. Beyond Kombu's small default they would not be, and run again.
    "max_connections": 1000,
}
if settings.reliable_fetch:
    # Kombu's own loses the task that a worker is about to take when it is killed.
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__package__}.redis_transport:Transport"
# For who sends a task, and should not wait as long as a worker that has nothing else to do.
SENDING_OPTIONS: dict[str, Any] = {
    "socket_timeout": settings.publish_timeout,
    "socket_connect_timeout": settings.publish_timeout,
}
# Seconds. A task with a countdown waits in a worker, which renews its lease. Without one it must
# find a place and run to its end before it is handed out again.
LONGEST_DELAY = (
    math.inf
    if settings.reliable_fetch
    else (settings.visibility_timeout - settings.task_time_limit) / 2
)
#{% endif %}
#{% if cookiecutter.__broker == "rabbitmq" %}
QUEUES = [
    kombu.Queue(
        name,
        # A delayed task finds its queue by a pattern, which only topic exchanges match.
        kombu.Exchange(name, type="topic"),
        routing_key=name,
        # Kept by a majority of the cluster's nodes, so that one may die. It is also what makes
        # Celery leave delayed tasks with RabbitMQ.
        queue_arguments={"x-queue-type": "quorum"},
    )
    for name in Queue
]
DEAD_LETTERS_QUEUE = kombu.Queue(
    DEAD_LETTERS,
    # To look at a message is a delivery, too: with the server's limit, often twenty, it would be
    # dropped for having been looked at.
    queue_arguments={"x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000},
)
TRANSPORT_OPTIONS: dict[str, Any] = {
    # Sending returns when RabbitMQ has the task, not when it is on its way.
    "confirm_publish": True,
}
# A connection that died silently would keep who sends a task waiting for ever.
SENDING_OPTIONS: dict[str, Any] = {
    "read_timeout": settings.publish_timeout,
    "write_timeout": settings.publish_timeout,
}
# RabbitMQ itself keeps what is not due, as long as it takes.
LONGEST_DELAY = math.inf
#{% endif %}
#{% if cookiecutter.__broker == "sqs" %}
TRANSPORT_ALIASES["sqs"] = f"{__package__}.sqs_transport:Transport"
QUEUES = [kombu.Queue(name, kombu.Exchange(name), routing_key=name) for name in Queue]
DEAD_LETTERS_QUEUE = kombu.Queue(DEAD_LETTERS)
TRANSPORT_OPTIONS: dict[str, Any] = {
    "region": settings.aws_region,
    "visibility_timeout": settings.visibility_timeout,
    "is_secure": settings.sqs_queue_url_prefix.startswith("https://"),
    # A service that makes and lists queues needs more rights, and could serve a wrong one.
    "predefined_queues": {
        str(name): {"url": f"{settings.sqs_queue_url_prefix}{name}"}
        for name in [*Queue, DEAD_LETTERS]
    },
    # A worker that is full looks again whether it has room after this time, not after a second.
    "polling_interval": 0.1,
    #{% endif %}
    #{% if cookiecutter.__broker == "sqs" and cookiecutter.__worker_pool == "gevent" %}
    # The queues are asked one after the other here: a task waits while the others are empty.
    "wait_time_seconds": 1,
    # Each task that ends at the same time needs one to tell SQS.
    "client-config": {"max_pool_connections": settings.worker_concurrency},
    #{% endif %}
    #{% if cookiecutter.__broker == "sqs" %}
}
# The defaults keep who sends a task waiting for minutes.
SENDING_OPTIONS: dict[str, Any] = {
    "client-config": {
        "connect_timeout": settings.publish_timeout,
        "read_timeout": settings.publish_timeout,
        "retries": {"total_max_attempts": 1},
    }
}
# Seconds. A task with a countdown waits in a worker, unacknowledged: so long that time is left to
# run it, and as much again until there is a place for it. After that it would run several times.
LONGEST_DELAY = (settings.visibility_timeout - settings.task_time_limit) / 2
#{% endif %}
