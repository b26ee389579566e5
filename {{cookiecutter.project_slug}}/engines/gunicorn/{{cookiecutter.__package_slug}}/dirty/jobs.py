"""What callers do with jobs: submit them, into the queue of their task."""

import json
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from sqlite3 import Row
from typing import Any

from structlog.contextvars import get_contextvars

from .. import telemetry
from ..logs import CORRELATION_ID
from ..queues import ROUTES, Queue
from ..settings import settings
from . import tracing
from .bell import Bell
from .board import WATCHERS, Board, is_final
#{% if cookiecutter.include_metrics %}
from .measured_board import MeasuredBoard
#{% endif %}
from .task import TASKS, Task

PACKAGE = __package__.rpartition(".")[0]

telemetry.start()


class JobFailed(Exception):
    """What a job raised, in words."""


@dataclass(frozen=True)
class JobResult:
    """What will come of a job."""

    id: str

    def get(self, timeout: float | None = None, interval: float = 0.5) -> Any:
        """Wait for what the job returns. Looks whenever something is written down, and after so
        many seconds in any case.

        Raises:
            JobFailed: when it failed, or was cancelled.
            LookupError: when nothing is known of it any more.
            TimeoutError: when it has not ended after so many seconds.
        """
        until = float("inf") if timeout is None else time.monotonic() + timeout
        with closing(Bell(board().bells, WATCHERS)) as bell:
            while not is_final(row := self._row()):
                if (left := until - time.monotonic()) <= 0:
                    raise TimeoutError(f"{self.id} has not ended after {timeout} s")
                bell.wait(min(interval, left))
        found = json.loads(row["result"] or "null")
        if row["state"] != "SUCCESS":
            raise JobFailed(f"{row['state']}: {found}")
        return found

    def _row(self) -> Row:
        try:
            return board().jobs([self.id])[self.id]
        except KeyError:
            raise LookupError(f"nothing is known of the job {self.id}") from None


@cache
def board() -> Board:
    #{% if cookiecutter.include_metrics %}
    if settings.metrics_port is not None:
        return MeasuredBoard(settings.jobs_dir)
    #{% endif %}
    return Board(settings.jobs_dir)


def tasks() -> dict[str, Task[..., Any]]:
    """All of tasks/, by name."""
    package = import_module(f"{PACKAGE}.tasks")
    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    return TASKS


def queue_of(task: str) -> Queue:
    return next(
        (queue for pattern, queue in ROUTES.items() if fnmatchcase(task, pattern)), Queue.DEFAULT
    )


def time_limit(task: str) -> float:
    """Seconds after which a job of it is ended."""
    found = tasks().get(task)
    return (found and found.time_limit) or settings.task_time_limit


def submit(
    task: str,
    arguments: Mapping[str, Any],
    job_id: str | None = None,
    *,
    delay: float = 0,
    expires: float | None = None,
) -> str:
    """The id. Raises QueueIsFull when as many wait as MAX_WAITING allows."""
    return board().submit(
        task,
        arguments,
        queue_of(task),
        settings.max_waiting,
        job_id,
        delay=delay,
        expires=expires,
        correlation_id=get_contextvars().get(CORRELATION_ID),
        carrier=tracing.carrier(),
    )
