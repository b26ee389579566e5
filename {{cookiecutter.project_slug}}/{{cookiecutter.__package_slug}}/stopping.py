"""A worker that must stop lets its tasks finish for a while, and then gives back the rest."""

import os
#{% if cookiecutter.worker_pool != "threads" %}
import signal
#{% endif %}
#{% if cookiecutter.worker_pool != "gevent" %}
import threading
#{% endif %}
from typing import Any

#{% if cookiecutter.worker_pool == "gevent" %}
import gevent
#{% endif %}
#{% if cookiecutter.worker_pool != "threads" %}
from celery.signals import worker_shutting_down
#{% endif %}
#{% if cookiecutter.worker_pool == "threads" %}
from celery.signals import worker_ready, worker_shutting_down
#{% endif %}

from .settings import settings
#{% if cookiecutter.worker_pool == "threads" %}

# The one of this process, if it is a worker.
_consumers: list[Any] = []
#{% endif %}


def connect() -> None:
    """Have workers end by themselves before somebody kills them."""
    #{% if cookiecutter.worker_pool == "threads" %}
    worker_ready.connect(_remember)
    #{% endif %}
    worker_shutting_down.connect(give_back_in_time)


def give_back_in_time(how: str, **_: Any) -> None:
    """Otherwise a long task outlives every patience, is killed, and waits to be missed."""
    if how == "Warm":
        #{% if cookiecutter.worker_pool == "gevent" %}
        gevent.spawn_later(settings.shutdown_timeout, _give_back)
        #{% endif %}
        #{% if cookiecutter.worker_pool != "gevent" %}
        timer = threading.Timer(settings.shutdown_timeout, _give_back)
        timer.daemon = True
        timer.start()
        #{% endif %}
#{% if cookiecutter.worker_pool != "threads" %}


def _give_back() -> None:
    # What Celery understands as: stop now, and leave unfinished tasks with the broker.
    os.kill(os.getpid(), signal.SIGQUIT)
#{% endif %}
#{% if cookiecutter.worker_pool == "threads" %}


def _remember(sender: Any, **_: Any) -> None:
    _consumers[:] = [sender]


def _give_back() -> None:
    # A connection that is closed leaves its unfinished tasks with the broker. Then nothing but the
    # end of the process ends a thread, and Celery would wait for it.
    try:
        for consumer in _consumers:
            # It has none while it looks for its broker.
            if consumer.connection is not None:
                consumer.connection.close()
    finally:
        os._exit(os.EX_OK)
#{% endif %}
