"""The processes that run jobs: a dirty app for each queue."""

from typing import Any, ClassVar

from gunicorn.dirty import DirtyApp

from .. import telemetry
from ..queues import Queue
from ..settings import settings
from .consumer import Consumer
from .jobs import board, tasks


class Worker(DirtyApp):
    """Its thread takes jobs; what is asked over the arbiter is answered beside it."""

    queue: ClassVar[Queue]

    def init(self) -> None:
        """Must not raise: the arbiter would start the process again and again."""
        self._consumer = Consumer(board(), self.queue, tasks)
        self._consumer.start()

    def __call__(self, action: str, *args: Any, **kwargs: Any) -> Any:
        raise ValueError(f"there is no action {action!r}: jobs are taken, and not called")

    def close(self) -> None:
        self._consumer.end(settings.shutdown_timeout)
        telemetry.flush()

    def enforce_limits(self) -> None:
        self._consumer.enforce_limits()


class DefaultWorker(Worker):
    queue = Queue.DEFAULT
#{% if cookiecutter.include_examples %}


class EmailWorker(Worker):
    queue = Queue.EMAIL


class ImageWorker(Worker):
    queue = Queue.IMAGES


class DataWorker(Worker):
    queue = Queue.DATA


class ScheduledWorker(Worker):
    queue = Queue.SCHEDULED
#{% endif %}
