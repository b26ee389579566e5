"""What Celery's gevent pool does not do by itself: start patched, and keep what it must leave."""

#{% if cookiecutter.__broker == "redis" %}
from contextlib import suppress
#{% endif %}
from typing import Any

from celery import Celery
#{% if cookiecutter.__broker == "redis" %}
from celery.signals import celeryd_init, worker_ready
#{% endif %}
#{% if cookiecutter.__broker != "redis" %}
from celery.signals import celeryd_init
#{% endif %}
from gevent import monkey
#{% if cookiecutter.__broker == "redis" %}
from redis.exceptions import RedisError
#{% endif %}

#{% if cookiecutter.__broker == "redis" %}
from .settings import settings

#{% endif %}
COMMAND = "celery -A {{ cookiecutter.__package_slug }} worker --pool gevent"


def connect(app: Celery) -> None:
    """Have workers of the application refuse a wrong start, and put their tasks back at the end."""
    celeryd_init.connect(refuse_another_pool)
    #{% if cookiecutter.__broker == "redis" %}
    worker_ready.connect(keep_repeatedly)
    #{% endif %}
    # A name, so that programs which only send tasks do not import the worker.
    app.Task.Request = f"{__package__}.gevent_request:KeptRequest"


def refuse_another_pool(options: dict[str, Any], **_: Any) -> None:
    """Only the command line makes Celery patch the standard library before anything uses it.

    A worker that is patched later says that it is ready, and then runs no task.
    """
    if not (options["pool"].is_green and monkey.is_module_patched("socket")):
        raise SystemExit(f"This service runs on gevent, which the command must name:\n  {COMMAND}")
#{% if cookiecutter.__broker == "redis" %}


def keep_repeatedly(sender: Any, **_: Any) -> None:
    """Renew the leases of tasks, and look for those of dead workers.

    What takes the messages cannot: with a task in hand for which there is no place, it waits.
    """
    sender.timer.call_repeatedly(settings.task_lease / 4, keep, (sender,))


def keep(consumer: Any) -> None:
    if consumer.connection is not None:
        # Whoever takes the messages finds out that Redis is away.
        with suppress(RedisError):
            consumer.connection.transport.cycle.maybe_restore_messages()
#{% endif %}
