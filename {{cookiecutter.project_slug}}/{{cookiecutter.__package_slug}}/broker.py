"""What the broker is told: how its queues are declared, and how a connection behaves."""

from typing import Any

import kombu

from .queues import Queue
#{% if cookiecutter.broker != "rabbitmq" %}
from .settings import settings
#{% endif %}

#{% if cookiecutter.broker == "redis" %}
QUEUES = [kombu.Queue(name, kombu.Exchange(name), routing_key=name) for name in Queue]
TRANSPORT_OPTIONS: dict[str, Any] = {
    "visibility_timeout": settings.visibility_timeout,
    # Looked for every ten seconds; the default, a hundred, would add to that time-out.
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 1,
    # Without a timeout a connection that died silently is waited on for ever.
    "socket_timeout": 15,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 10,
    # Tasks of one process that end at the same time are each acknowledged over a connection of
    # their own. Beyond Kombu's small default they would not be, and run again.
    "max_connections": 1000,
}
#{% endif %}
#{% if cookiecutter.broker == "rabbitmq" %}
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
TRANSPORT_OPTIONS: dict[str, Any] = {
    # Sending returns when RabbitMQ has the task, not when it is on its way.
    "confirm_publish": True,
}
#{% endif %}
#{% if cookiecutter.broker == "sqs" %}
QUEUES = [kombu.Queue(name, kombu.Exchange(name), routing_key=name) for name in Queue]
TRANSPORT_OPTIONS: dict[str, Any] = {
    "region": settings.aws_region,
    "is_secure": settings.sqs_queue_url_prefix.startswith("https://"),
    # A service that makes and lists queues needs more rights, and could serve a wrong one.
    "predefined_queues": {
        str(name): {"url": f"{settings.sqs_queue_url_prefix}{name}"} for name in Queue
    },
    #{% endif %}
    #{% if cookiecutter.broker == "sqs" and cookiecutter.worker_pool == "gevent" %}
    # The queues are asked one after the other here: a task waits while the others are empty.
    "wait_time_seconds": 1,
    #{% endif %}
    #{% if cookiecutter.broker == "sqs" %}
}
#{% endif %}
