#{% if cookiecutter.__result_backend != "none" %}
"""How progress travels from a job to whoever watches its task: through the result backend."""
#{% endif %}
#{% if cookiecutter.__result_backend == "none" %}
"""How a job's progress becomes visible: as lines in the log."""
#{% endif %}

#{% if cookiecutter.__result_backend != "none" %}
import threading
#{% endif %}
import time
#{% if cookiecutter.__result_backend != "none" %}
from collections import deque
#{% endif %}
from collections.abc import Generator
#{% if cookiecutter.__result_backend != "none" %}
from contextlib import closing, suppress
#{% endif %}
from dataclasses import asdict
#{% if cookiecutter.__result_backend != "none" %}
from typing import Any, TypeVar
#{% endif %}
#{% if cookiecutter.__result_backend == "none" %}
from typing import TypeVar
#{% endif %}

#{% if cookiecutter.__result_backend != "none" %}
from celery import current_task
#{% endif %}
#{% if cookiecutter.__result_backend == "none" %}
import structlog
#{% endif %}

from .jobs import Progress

#{% if cookiecutter.__result_backend != "none" %}
# Seconds between two reports: a watcher sees it as movement, the result backend hardly notices.
PUBLISH_EVERY = 0.1
# How many of the latest steps a report holds, so that of fast ones none is missed.
STEPS = 50
#{% endif %}
#{% if cookiecutter.__result_backend == "none" %}
# Seconds between two lines of the same task.
PUBLISH_EVERY = 5.0

log = structlog.stdlib.get_logger()
#{% endif %}

Result = TypeVar("Result")


def publish(steps: Generator[Progress, None, Result]) -> Result:
    #{% if cookiecutter.__result_backend != "none" %}
    """Run a job to its end; meanwhile its task is in state PROGRESS, with the latest as info."""
    # A task that is called as a function has no id, and nobody who watches it.
    is_watched = bool(current_task and current_task.request.id)
    with closing(_Report() if is_watched else _NoReport()) as report:
        while True:
            try:
                report.add(next(steps))
            except StopIteration as end:
                result: Result = end.value
                return result
    #{% endif %}
    #{% if cookiecutter.__result_backend == "none" %}
    """Run a job to its end, and say in the log how far it is."""
    published = float("-inf")
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result
        if time.monotonic() - published >= PUBLISH_EVERY:
            log.info("progress", **asdict(progress))
            published = time.monotonic()
    #{% endif %}
#{% if cookiecutter.__result_backend != "none" %}


class _NoReport:
    def add(self, progress: Progress) -> None:
        """Nobody would read it."""

    def close(self) -> None:
        """Nothing is left."""


class _Report:
    """Publishes a step at once, and those that follow too soon together, a moment later."""

    def __init__(self) -> None:
        task: Any = current_task
        # Of this thread; another one would open a connection of its own each time.
        self._backend, self._request = task.backend, task.request
        self._began = time.time()
        self._steps: deque[dict[str, Any]] = deque(maxlen=STEPS)
        self._lock = threading.Lock()
        self._published = float("-inf")
        self._later: threading.Timer | None = None

    def add(self, progress: Progress) -> None:
        with self._lock:
            self._steps.append(asdict(progress))
            if self._later is None:
                wait = self._published + PUBLISH_EVERY - time.monotonic()
                if wait <= 0:
                    self._publish()
                else:
                    self._later = threading.Timer(wait, self._publish_later)
                    self._later.daemon = True
                    self._later.start()

    def close(self) -> None:
        """Before the result takes its place, a watcher learns of the last steps."""
        with self._lock:
            if self._later:
                self._later.cancel()
                self._later = None
                self._publish()

    def _publish_later(self) -> None:
        with self._lock:
            if self._later:
                self._later = None
                # The next step, or the result, says what is wrong.
                with suppress(Exception):
                    self._publish()

    def _publish(self) -> None:
        steps = list(self._steps)
        meta = {**steps[-1], "steps": steps, "began": self._began}
        self._backend.store_result(self._request.id, meta, "PROGRESS", request=self._request)
        self._published = time.monotonic()
#{% endif %}
