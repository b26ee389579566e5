#{% if cookiecutter.result_backend != "none" %}
"""How progress travels from a job to whoever watches its task: through the result backend."""
#{% endif %}
#{% if cookiecutter.result_backend == "none" %}
"""How a job's progress becomes visible: as lines in the log."""
#{% endif %}

import time
from collections.abc import Generator
from dataclasses import asdict
from typing import Any, TypeVar

#{% if cookiecutter.result_backend != "none" %}
from celery import current_task
#{% endif %}
#{% if cookiecutter.result_backend == "none" %}
import structlog
#{% endif %}

from .jobs import Progress

#{% if cookiecutter.result_backend != "none" %}
# Seconds between two reports: a watcher sees it as movement, the result backend hardly notices.
PUBLISH_EVERY = 0.1
#{% endif %}
#{% if cookiecutter.result_backend == "none" %}
# Seconds between two lines of the same task.
PUBLISH_EVERY = 5.0

log = structlog.stdlib.get_logger()
#{% endif %}

Result = TypeVar("Result")


def publish(steps: Generator[Progress, None, Result]) -> Result:
    #{% if cookiecutter.result_backend != "none" %}
    """Run a job to its end; meanwhile its task is in state PROGRESS, with the latest as info."""
    #{% endif %}
    #{% if cookiecutter.result_backend == "none" %}
    """Run a job to its end, and say in the log how far it is."""
    #{% endif %}
    published = float("-inf")
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
        if time.monotonic() - published >= PUBLISH_EVERY:
            _publish(asdict(progress))
            published = time.monotonic()


def _publish(progress: dict[str, Any]) -> None:
    #{% if cookiecutter.result_backend == "none" %}
    log.info("progress", **progress)
    #{% endif %}
    #{% if cookiecutter.result_backend != "none" %}
    # A task that is called as a function has no id, and nobody who watches it.
    if current_task and current_task.request.id:
        current_task.update_state(state="PROGRESS", meta=progress)
    #{% endif %}
