"""A worker that must stop lets its tasks finish for a while, and then gives back the rest."""

import os
import signal
#{% if cookiecutter.__worker_pool == "prefork" %}
import threading
#{% endif %}
from typing import Any

#{% if cookiecutter.__worker_pool == "gevent" %}
import gevent
#{% endif %}
from celery.signals import worker_shutting_down

from .settings import settings


def connect() -> None:
    """Have workers end by themselves before somebody kills them."""
    worker_shutting_down.connect(give_back_in_time)


def give_back_in_time(how: str, **_: Any) -> None:
    """Otherwise a long task outlives every patience, is killed, and waits to be missed."""
    if how == "Warm":
        #{% if cookiecutter.__worker_pool == "gevent" %}
        gevent.spawn_later(settings.shutdown_timeout, _give_back)
        #{% endif %}
        #{% if cookiecutter.__worker_pool == "prefork" %}
        timer = threading.Timer(settings.shutdown_timeout, _give_back)
        timer.daemon = True
        timer.start()
        #{% endif %}


def _give_back() -> None:
    # What Celery understands as: stop now, and leave unfinished tasks with the broker.
    os.kill(os.getpid(), signal.SIGQUIT)
