"""What callers do with jobs: submit them, into the queue of their task."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from ..queues import ROUTES, Queue
from ..settings import settings
from .board import Board, is_final
from .task import TASKS, Task

PACKAGE = __package__.rpartition(".")[0]


class JobFailed(Exception):
    """What a job raised, in words."""


@dataclass(frozen=True)
class JobResult:
    """What will come of a job."""

    id: str

    def get(self, timeout: float | None = None, interval: float = 0.05) -> Any:
        """Wait for what the job returns.

        Raises:
            JobFailed: when it failed, or was cancelled.
            TimeoutError: when it has not ended after so many seconds.
        """
        until = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            row = board().jobs([self.id]).get(self.id)
            if row is not None and is_final(row):
                break
            if time.monotonic() > until:
                raise TimeoutError(f"{self.id} has not ended after {timeout} s")
            time.sleep(interval)
        found = json.loads(row["result"] or "null")
        if row["state"] != "SUCCESS":
            raise JobFailed(f"{row['state']}: {found}")
        return found


@cache
def board() -> Board:
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
    )
