"""The thread pool of a worker that must stop: it does not wait for its tasks for ever."""

import logging
import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any
from weakref import WeakSet

from celery.concurrency import thread
from celery.signals import worker_shutdown

from . import log_writer
from .settings import settings


class TaskPool(thread.TaskPool):
    """Celery's own, which would wait until somebody kills the worker, and its tasks are missed."""

    executor: ThreadPoolExecutor

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._futures: WeakSet[Future[Any]] = WeakSet()

    def on_start(self) -> None:
        super().on_start()
        log_writer.take_over()

    def on_apply(self, *args: Any, **options: Any) -> Any:
        applied = super().on_apply(*args, **options)
        self._futures.add(applied.f)
        return applied

    def on_stop(self) -> None:
        self.executor.shutdown(wait=False, cancel_futures=True)
        # Connected this late it is called last, after what others do at the end of a worker.
        worker_shutdown.connect(self._leave, weak=False)
        wait(self._running(), timeout=settings.shutdown_timeout)

    def _running(self) -> list[Future[Any]]:
        return [future for future in self._futures if not future.done()]

    def _leave(self, sender: Any, **_: Any) -> None:
        # A worker that SIGHUP starts anew takes the place of this one before Python would do it.
        logging.shutdown()
        # By now the connection is closed, which gave unfinished tasks back to the broker. Nothing
        # but the end of the process ends a thread, and Python would wait for it.
        if self._running():
            os._exit(sender.exitcode or os.EX_OK)
