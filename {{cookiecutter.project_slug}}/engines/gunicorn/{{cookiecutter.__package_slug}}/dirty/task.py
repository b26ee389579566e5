"""Declares tasks: with the words that Celery has for it, so that a task is the same for both."""

import inspect
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

if TYPE_CHECKING:
    from .jobs import JobResult

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

# Seconds.
DEFAULT_RETRY_DELAY = 180.0


@dataclass(frozen=True)
class Task(Generic[Parameters, Result]):
    """A job by its name, with its limits."""

    name: str
    run: Callable[Parameters, Result]
    # Seconds after which the job is interrupted, and after which its process is ended.
    soft_time_limit: float | None
    time_limit: float | None
    autoretry_for: tuple[type[Exception], ...]
    retry_backoff: bool
    retry_backoff_max: float
    max_retries: int
    # How many of these one process begins, such as 100/s.
    rate_limit: str | None

    def __call__(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return self.run(*args, **kwargs)

    def delay(self, *args: Parameters.args, **kwargs: Parameters.kwargs) -> "JobResult":
        """Have it run in the background. Raises QueueIsFull when as many wait as may."""
        # Where jobs are kept is a matter of settings, which a task has no need of to be declared.
        from .jobs import JobResult, submit

        arguments = inspect.signature(self.run).bind(*args, **kwargs).arguments
        return JobResult(submit(self.name, arguments))

    def pause(self, retries: int) -> float:
        """Seconds until the next attempt, of which so many were made again already.

        Somewhere between nothing and twice as much each time, so that those that failed together
        do not come back together.
        """
        if not self.retry_backoff:
            return DEFAULT_RETRY_DELAY
        longest = min(self.retry_backoff_max, 2.0**retries)
        return random.uniform(0, longest)  # noqa: S311


TASKS: dict[str, Task[..., Any]] = {}


def shared_task(
    *,
    name: str,
    soft_time_limit: float | None = None,
    time_limit: float | None = None,
    autoretry_for: tuple[type[Exception], ...] = (),
    retry_backoff: bool = False,
    retry_backoff_max: float = 600,
    max_retries: int = 3,
    rate_limit: str | None = None,
) -> Callable[[Callable[Parameters, Result]], Task[Parameters, Result]]:
    """Make a function a task. What is not said here about limits says TASK_TIME_LIMIT."""

    def declare(function: Callable[Parameters, Result]) -> Task[Parameters, Result]:
        if name in TASKS:
            raise ValueError(f"there are two tasks {name!r}")
        if rate_limit and not re.fullmatch("[1-9][0-9]*(/[smh])?", rate_limit):
            raise ValueError(f"rate_limit={rate_limit!r} of {name}: write 100/s, 10/m or 1/h")
        task = Task(
            name,
            function,
            soft_time_limit,
            time_limit,
            autoretry_for,
            retry_backoff,
            retry_backoff_max,
            max_retries,
            rate_limit,
        )
        TASKS[name] = task
        return task

    return declare
