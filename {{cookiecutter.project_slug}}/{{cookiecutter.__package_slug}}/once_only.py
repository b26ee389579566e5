"""Tasks that do their work once, however often they are delivered or sent."""

import inspect
import re
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from functools import wraps
from string import Formatter
from typing import Any, ParamSpec, TypeVar

import structlog
from celery import current_task
from celery.exceptions import Reject, Retry
from kombu.exceptions import OperationalError
from kombu.utils.json import dumps, loads

from . import leases
from .broker import LONGEST_DELAY
from .locks import LockTaken, lock

PREFIX = "{{ cookiecutter.project_slug }}:once:"
# Characters of JSON. What is kept is memory of the broker's, or rows.
LARGEST_RESULT = 10_000

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

log = structlog.stdlib.get_logger()


def once_only(
    *, window: timedelta, key: str | None = None, lease: float = 30
) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result | None]]:
    """Between `@shared_task` and the function: it runs to its end once within the window.

    Runs with the same key are the same. `"{order}"` takes it from the argument `order`; without a
    key it is the task's id, which all deliveries of one message share.

    A copy that comes while the first one runs is put off, because that one may die. One that comes
    later has the result of the first one, or None if that is not JSON or large. A run that fails
    leaves the key free; one whose worker dies does so after `lease` seconds.
    """

    def decorate(
        function: Callable[Parameters, Result],
    ) -> Callable[Parameters, Result | None]:
        signature = inspect.signature(function)
        if unknown := _names(key or "") - signature.parameters.keys():
            raise ValueError(f"{key!r}: {function.__name__} has no argument {', '.join(unknown)}")

        @wraps(function)
        def run_once(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result | None:
            task: Any = current_task
            # Called as the function it is, there is nothing to deliver twice.
            if not task or task.request.called_directly:
                return function(*args, **kwargs)
            called = signature.bind(*args, **kwargs)
            called.apply_defaults()
            once = task.request.id if key is None else key.format(**called.arguments)
            name = f"{task.name}:{once}"
            with ExitStack() as stack:
                try:
                    stack.enter_context(lock(f"once:{name}", lease=lease))
                    kept = leases.kept(PREFIX + name)
                except (LockTaken, *leases.AWAY) as obstacle:
                    raise _put_off(task, lease / 4, obstacle) from obstacle
                if kept is not None:
                    log.info("this has been done, and is not done again", key=name)
                    done: Result | None = loads(kept)
                    return done
                result = function(*args, **kwargs)
                try:
                    leases.keep(PREFIX + name, _as_json(result), window)
                except leases.AWAY:
                    # To fail now would have it done again for sure.
                    log.exception("this is done, and a copy of it would be done again", key=name)
                return result

        # Without it Celery would send whatever arguments the task is given.
        run_once.__dict__["__signature__"] = signature
        return run_once

    return decorate


def _names(template: str) -> set[str]:
    """The arguments that a template asks for."""
    fields = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    return {re.split(r"[.\[]", field)[0] for field in fields}


def _as_json(result: object) -> str:
    try:
        text = dumps(result)
    except (TypeError, ValueError):
        return "null"
    return text if len(text) <= LARGEST_RESULT else "null"


def _put_off(task: Any, seconds: float, obstacle: Exception) -> Exception:
    """Send the task again for later. Unlike Celery's `retry` it counts nothing."""
    seconds = min(max(seconds, 1), LONGEST_DELAY)
    again = task.signature_from_request(countdown=seconds, retries=task.request.retries)
    try:
        again.apply_async()
    except OperationalError as error:
        return Reject(error, requeue=True)
    return Retry(exc=obstacle, when=seconds)  # type: ignore[arg-type]
