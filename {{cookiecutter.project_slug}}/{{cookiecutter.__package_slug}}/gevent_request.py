"""How a worker of the gevent pool acknowledges a task."""

from typing import Any

from .request import Request


class KeptRequest(Request):
    """A task that is cancelled because its worker must stop at once goes back into its queue.

    Celery takes a killed greenlet for one that has succeeded, and would acknowledge the task.
    """

    _is_kept = False

    def cancel(self, *args: Any, **options: Any) -> None:
        # Before Celery's own mark, which it sets only after the greenlet had time to end.
        self._is_kept = True
        super().cancel(*args, **options)

    def acknowledge(self) -> None:
        if not self._is_kept:
            super().acknowledge()
