"""What Celery's gevent pool does not do by itself: start patched, and keep what it must leave."""

from typing import Any

from celery import Celery
#{% if cookiecutter.broker == "redis" %}
from celery.signals import celeryd_init, worker_ready
#{% endif %}
#{% if cookiecutter.broker != "redis" %}
from celery.signals import celeryd_init
#{% endif %}
from gevent import monkey

#{% if cookiecutter.broker == "redis" %}
# Seconds between two looks for tasks whose worker has died.
RESTORE_EVERY = 10.0
# Tasks put back at each look.
MOST_RESTORED = 1000
#{% endif %}
COMMAND = "celery -A {{ cookiecutter.__package_slug }} worker --pool gevent"


def connect(app: Celery) -> None:
    """Have workers of the application refuse a wrong start, and put their tasks back at the end."""
    celeryd_init.connect(refuse_another_pool)
    #{% if cookiecutter.broker == "redis" %}
    worker_ready.connect(restore_repeatedly)
    #{% endif %}
    # A name, so that programs which only send tasks do not import the worker.
    app.Task.Request = f"{__package__}.gevent_request:KeptRequest"


def refuse_another_pool(options: dict[str, Any], **_: Any) -> None:
    """Only the command line makes Celery patch the standard library before anything uses it.

    A worker that is patched later says that it is ready, and then runs no task.
    """
    if not (options["pool"].is_green and monkey.is_module_patched("socket")):
        raise SystemExit(f"This service runs on gevent, which the command must name:\n  {COMMAND}")
#{% if cookiecutter.broker == "redis" %}


def restore_repeatedly(sender: Any, **_: Any) -> None:
    """Put back what a dead worker held. Other pools do so by themselves, between two tasks.

    On this one Kombu would get to it only while Redis does not answer.
    """
    sender.timer.call_repeatedly(RESTORE_EVERY, restore, (sender.app,))


def restore(app: Celery) -> None:
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        channel.qos.restore_visible(num=MOST_RESTORED)
#{% endif %}
