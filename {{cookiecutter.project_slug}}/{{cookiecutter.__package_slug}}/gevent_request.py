"""How a worker of the gevent pool acknowledges a task."""

from celery.worker.request import Request


class KeptRequest(Request):
    """A task that is cancelled because its worker must stop at once goes back into its queue.

    Celery takes a killed greenlet for one that has succeeded, and would acknowledge the task.
    """

    def acknowledge(self) -> None:
        if not self._already_cancelled:  # type: ignore[attr-defined]
            super().acknowledge()
