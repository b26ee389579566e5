"""The pool of processes: made cheaply, rid of old time limits, and heard before a worker stops."""

import gc
from heapq import heapify
from multiprocessing.connection import wait
from time import monotonic
from typing import Any

from celery.signals import worker_before_create_process

# Timers that are too few to look through for cancelled ones.
FEW = 1000
# Seconds in which a process tells that it has begun what it was given.
BEGINS_WITHIN = 5.0


def connect() -> None:
    """Have processes made in little time, which share the memory of what all of them load."""
    worker_before_create_process.connect(set_aside)


def set_aside(**_: Any) -> None:
    """Once, or whatever is garbage when a later process is made would stay for ever."""
    worker_before_create_process.disconnect(set_aside)
    gc.collect()
    # Celery collects garbage before it makes a process, and looks at all objects for it. So does
    # a process now and then, which makes copies of what it shared.
    gc.freeze()


class CancelledTimers:
    """What a worker's timer holds of tasks that have ended, until their time limits would be over.

    After ten minutes of short tasks that may be hundreds of megabytes, and Celery looks through
    all of it whenever it makes a process.
    """

    def __init__(self, timer: Any) -> None:
        self._timer = timer
        self._kept = 0

    def drop(self) -> None:
        """To be called often: waits until they may be as many as the rest."""
        held = self._timer._queue
        if len(held) > 2 * self._kept + FEW:
            # In place: the worker's loop holds on to the list.
            held[:] = [event for event in held if not event.entry.canceled]
            heapify(held)
            self._kept = len(held)


def wait_for_what_begins(pool: Any) -> None:
    """Until no process has a task of which it has not said yet that it runs.

    Celery forgets such a task when the worker stops: nobody would hear of its end. It would run
    again, and its process wait half a minute for somebody to hear.
    """
    results: Any = getattr(pool, "_result_handler", None)
    ends = dict(getattr(results, "fileno_to_outq", {}))
    deadline = monotonic() + BEGINS_WITHIN
    while ends and any(task._write_to and not task._accepted for task in [*pool._cache.values()]):
        if monotonic() > deadline:
            return
        for end in wait(ends, timeout=0.1):
            results._flush_outqueue(end, ends.pop, results.fileno_to_outq, results.on_state_change)
