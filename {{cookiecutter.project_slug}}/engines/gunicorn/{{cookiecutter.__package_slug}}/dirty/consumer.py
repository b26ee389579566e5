"""Takes jobs from one queue, one at a time, and sees each to its end."""

import ctypes
import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import structlog
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

#{% if cookiecutter.include_metrics %}
from .. import metrics
#{% endif %}
from ..settings import settings
from . import tracing
from .bell import Bell
from .board import Board, Delivery
from .task import Task

# Seconds until the next look at a queue when nobody rings: what is to be tried again is due.
LOOK_EVERY = 0.5
# Seconds until the next look when the file cannot be read.
TRY_AGAIN_AFTER = 1.0

# As Celery abbreviates them; without any it is seconds.
UNITS = {"": "second", "s": "second", "m": "minute", "h": "hour"}
# Seconds, when a clock says that a job is due and another one that it is not.
SHORTEST_PAUSE = 0.01

# What runs in this thread.
current: ContextVar[Delivery | None] = ContextVar("current", default=None)

log = structlog.stdlib.get_logger()


class SoftTimeLimitExceeded(Exception):
    """The job has run for as long as its task allows; it may tidy up."""


class TimeLimitExceeded(Exception):
    """The job has run for longer than its task allows, and its process was ended."""


class WorkerLost(Exception):
    """The job's process died of it, as often as MAX_DELIVERIES allows."""


class NoSuchTask(Exception):
    """Nothing in tasks/ has this name."""


class Consumer(threading.Thread):
    """The thread in which jobs run, while the main thread answers the arbiter."""

    def __init__(
        self, board: Board, queue: str, tasks: Callable[[], dict[str, Task[..., Any]]]
    ) -> None:
        super().__init__(name=f"consumer of {queue}", daemon=True)
        self._board, self._queue, self._tasks = board, queue, tasks
        self._ending = threading.Event()
        self._is_idle = threading.Event()
        self._is_idle.set()
        # Guards what another thread looks at: the job, since when it runs, and whether it was told.
        self._lock = threading.Lock()
        self._running: tuple[Delivery, Task[..., Any], float] | None = None
        self._is_interrupted = False
        self._rates = MovingWindowRateLimiter(MemoryStorage())

    def run(self) -> None:
        bell: Bell | None = None
        while not self._ending.is_set():
            try:
                bell = bell or Bell(self._board.bells, self._queue)
                delivery = self._board.take(self._queue)
            except Exception:
                log.exception("the jobs cannot be read", queue=self._queue)
                self._ending.wait(TRY_AGAIN_AFTER)
                continue
            if delivery is None:
                bell.wait(LOOK_EVERY)
                continue
            self._is_idle.clear()
            # Only what is wrong with the file itself comes here; the job is given out again.
            try:
                self._see_to(delivery)
            except Exception:
                log.exception("what became of a job cannot be written", id=delivery.id)
                os._exit(1)
            self._is_idle.set()
        if bell:
            bell.close()

    def end(self, timeout: float) -> bool:
        """Take no more. Whether what runs has ended after so many seconds."""
        self._ending.set()
        return self._is_idle.wait(timeout)

    def enforce_limits(self) -> None:
        """To be called now and then by another thread. Ends the process of an overdue job."""
        with self._lock:
            if self._running is None:
                return
            delivery, task, began = self._running
            ran = time.monotonic() - began
            if ran > (task.time_limit or settings.task_time_limit):
                log.error("a job ran for too long, and its process is ended", id=delivery.id)
                with suppress(Exception):
                    self._board.fail(delivery, TimeLimitExceeded(f"{ran:.0f} s"))
                os._exit(1)
            if task.soft_time_limit and ran > task.soft_time_limit and not self._is_interrupted:
                self._is_interrupted = True
                _interrupt(self.ident, SoftTimeLimitExceeded)

    def _see_to(self, delivery: Delivery) -> None:
        task = self._tasks().get(delivery.task)
        if task is None:
            self._board.fail(delivery, NoSuchTask(delivery.task))
        elif delivery.deliveries > settings.max_deliveries:
            self._board.fail(delivery, WorkerLost(f"{delivery.deliveries - 1} times"))
        else:
            if (pause := self._until_turn(task)) > 0:
                self._board.postpone(delivery, pause)
                return
            current.set(delivery)
            marks = structlog.contextvars.bound_contextvars(
                task=task.name,
                task_id=delivery.id,
                attempt=delivery.retries + 1,
                queue=self._queue,
                correlation_id=delivery.correlation_id,
            )
            with marks, tracing.running(task.name, delivery.carrier):
                self._run_job(delivery, task)
            current.set(None)

    def _run_job(self, delivery: Delivery, task: Task[..., Any]) -> None:
        log.info("task begins")
        #{% if cookiecutter.include_metrics %}
        # One that had to wait for its turn went back, as if it had not been taken.
        metrics.RECEIVED.labels(task.name, self._queue).inc()
        metrics.STARTED.labels(task.name, self._queue).inc()
        wait = max(0.0, delivery.began_at - delivery.due_at)
        metrics.WAIT.labels(task.name, self._queue).observe(wait)
        #{% endif %}
        began = time.monotonic()
        try:
            with self._lock:
                self._running, self._is_interrupted = (delivery, task, began), False
            try:
                result = json.dumps(task.run(**delivery.arguments), allow_nan=False)
            finally:
                with self._lock:
                    self._running = None
                    # Too late: what is left to do here is to write down the end.
                    _interrupt(self.ident, None)
        except task.autoretry_for as error:
            if delivery.retries < task.max_retries:
                pause = task.pause(delivery.retries)
                log.warning("task is tried again", error=repr(error), seconds=round(pause, 1))
                self._board.retry(delivery, error, pause)
            else:
                log.exception("task failed, as often as it is tried")
                self._board.fail(delivery, error)
        # Whatever a job raises is its failure, and not the end of this thread.
        except BaseException as error:
            log.exception("task failed")
            self._board.fail(delivery, error)
        else:
            log.info("task succeeded", seconds=round(time.monotonic() - began, 3))
            self._board.succeed(delivery, result)

    def _until_turn(self, task: Task[..., Any]) -> float:
        """Seconds until a job of this task may begin here; 0 when this one may."""
        if not task.rate_limit:
            return 0
        count, _, unit = task.rate_limit.partition("/")
        rate = parse(f"{count}/{UNITS[unit]}")
        if self._rates.hit(rate, task.name):
            return 0
        until, _ = self._rates.get_window_stats(rate, task.name)
        return max(until - time.time(), SHORTEST_PAUSE)


def _interrupt(thread: int | None, error: type[Exception] | None) -> None:
    """Have it raised at the next step of Python code in this thread; None takes that back."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread or 0), ctypes.py_object(error) if error else None
    )
