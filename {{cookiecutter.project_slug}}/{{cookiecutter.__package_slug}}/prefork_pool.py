"""The pool of processes: what they share when they are made, and have begun when a worker stops."""

import gc
from multiprocessing.connection import wait
from time import monotonic
from typing import Any

from celery.signals import worker_before_create_process

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
