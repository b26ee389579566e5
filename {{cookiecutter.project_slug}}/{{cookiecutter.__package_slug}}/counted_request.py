"""Counts what becomes of a task, where its worker learns of it."""

import time
from datetime import datetime
from typing import Any

from . import dead_letters, metrics
#{% if cookiecutter.__worker_pool == "gevent" %}
from .gevent_request import KeptRequest as Request
from .queues import queue_of
#{% endif %}
#{% if cookiecutter.__worker_pool != "gevent" %}
from .queues import queue_of
from .request import Request
#{% endif %}
from .task_metrics import SENT_AT

COUNTED_AS = {
    "task-started": metrics.STARTED,
    "task-retried": metrics.RETRIED,
    "task-rejected": metrics.REJECTED,
    "task-revoked": metrics.REVOKED,
}


class CountedRequest(Request):
    """In the worker's main process, which is told of everything, be it the death of a process."""

    name: str
    eta: datetime | None
    request_dict: dict[str, Any]
    _has_failed = False

    def __init_subclass__(cls, **options: Any) -> None:
        """Celery makes a class of it for each task, whose on_success calls no other."""
        super().__init_subclass__(**options)
        succeed = cls.on_success

        def on_success(self: Any, failed__retval__runtime: Any, **options: Any) -> None:
            succeed(self, failed__retval__runtime, **options)
            is_failed, _, runtime = failed__retval__runtime
            # A run that was ended from outside is told of as a success of no length.
            if not is_failed and runtime is not None:
                labels = self._labels()
                metrics.SUCCEEDED.labels(*labels).inc()
                metrics.RUNTIME.labels(*labels).observe(runtime)

        cls.on_success = on_success  # type: ignore[method-assign]

    def send_event(self, type: str, **fields: Any) -> None:
        """Celery calls it for each change, whether or not anybody listens to events."""
        super().send_event(type, **fields)
        if type == "task-failed":
            self._count_failure()
        elif type in COUNTED_AS:
            COUNTED_AS[type].labels(*self._labels()).inc()
        if type == "task-started" and (due := self._due()):
            # Another machine's clock may be ahead of this one's.
            metrics.WAIT.labels(*self._labels()).observe(max(0.0, time.time() - due))

    def _due(self) -> float | None:
        """Seconds since 1970, or None when it waited for more than a worker."""
        if dead_letters.HEADER in self.request_dict:
            return None
        return self.eta.timestamp() if self.eta else self.request_dict.get(SENT_AT)

    def _count_failure(self) -> None:
        # Of a time limit Celery tells twice: as of a failure, and as of a limit.
        if self._has_failed:
            return
        self._has_failed = True
        metrics.FAILED.labels(*self._labels(), type(self._error).__name__).inc()

    def _labels(self) -> tuple[str, str]:
        return self.name, queue_of(str(self.delivery_info["routing_key"]))
