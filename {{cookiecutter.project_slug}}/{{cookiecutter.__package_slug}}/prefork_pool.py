"""The pool of processes: what a worker has loaded is set aside before it makes the first one."""

import gc
from typing import Any

from celery.signals import worker_before_create_process


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
