"""How progress travels from a job to whoever watches its task: through the file of the jobs."""

import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import asdict
from typing import Any, TypeVar

from .dirty.board import Delivery
from .dirty.consumer import current
from .dirty.jobs import board
from .jobs import Progress

# Seconds between two reports: a watcher sees it as movement, the file hardly notices.
PUBLISH_EVERY = 0.1
# How many of the latest steps a report holds, so that of fast ones none is missed.
STEPS = 50

Result = TypeVar("Result")


def publish(steps: Generator[Progress, None, Result]) -> Result:
    """Run a job to its end; meanwhile its task is in state PROGRESS, with the latest as info."""
    # A task that is called as a function has no id, and nobody who watches it.
    delivery = current.get()
    with closing(_Report(delivery) if delivery else _NoReport()) as report:
        while True:
            try:
                report.add(next(steps))
            except StopIteration as end:
                result: Result = end.value
                return result


class _NoReport:
    def add(self, progress: Progress) -> None:
        """Nobody would read it."""

    def close(self) -> None:
        """Nothing is left."""


class _Report:
    """Publishes a step at once, and those that follow too soon together, a moment later."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
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
        board().report(self._delivery, meta)
        self._published = time.monotonic()
