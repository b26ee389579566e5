"""How progress travels from a job to whoever watches its task: through the result backend."""

import time
from collections.abc import Generator
from dataclasses import asdict
from typing import Any, TypeVar

from celery import current_task

from .jobs import Progress

# Seconds between two reports: a watcher sees it as movement, the result backend hardly notices.
PUBLISH_EVERY = 0.1

Result = TypeVar("Result")


def publish(steps: Generator[Progress, None, Result]) -> Result:
    """Run a job to its end; meanwhile its task is in state PROGRESS, with the latest as info."""
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
    # A task that is called as a function has no id, and nobody who watches it.
    if current_task and current_task.request.id:
        current_task.update_state(state="PROGRESS", meta=progress)
