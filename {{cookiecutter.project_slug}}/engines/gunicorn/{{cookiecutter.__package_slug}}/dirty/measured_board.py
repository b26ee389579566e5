"""Counts what becomes of jobs, where it is written down."""

import socket
import time
from collections.abc import Iterator, Mapping
from sqlite3 import Error
from typing import Any

from prometheus_client import Gauge
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from .. import metrics
from ..queues import Queue
from .bell import listening
from .board import Board, Delivery

# By whichever process does what is due. Dashboards know it by this name.
TICKED = Gauge(
    "celery_beat_last_tick_timestamp_seconds",
    "When all that was due had been submitted, in seconds since 1970.",
    multiprocess_mode="mostrecent",
)


class MeasuredBoard(Board):
    """An end that comes too late, because another process has written one, does not count."""

    def submit(
        self, task: str, arguments: Mapping[str, Any], queue: str, *args: Any, **options: Any
    ) -> str:
        job_id = super().submit(task, arguments, queue, *args, **options)
        metrics.SENT.labels(task, queue).inc()
        return job_id

    def succeed(self, delivery: Delivery, result: str) -> bool:
        is_news = super().succeed(delivery, result)
        if is_news:
            metrics.SUCCEEDED.labels(delivery.task, delivery.queue).inc()
            seconds = time.time() - delivery.began_at
            metrics.RUNTIME.labels(delivery.task, delivery.queue).observe(max(0.0, seconds))
        return is_news

    def fail(self, delivery: Delivery, error: BaseException) -> bool:
        is_news = super().fail(delivery, error)
        if is_news:
            labels = delivery.task, delivery.queue
            metrics.FAILED.labels(*labels, type(error).__name__).inc()
            metrics.BURIED.labels(*labels).inc()
        return is_news

    def retry(self, delivery: Delivery, error: BaseException, delay: float) -> bool:
        is_news = super().retry(delivery, error, delay)
        if is_news:
            metrics.RETRIED.labels(delivery.task, delivery.queue).inc()
        return is_news

    def expire(self, delivery: Delivery) -> bool:
        is_news = super().expire(delivery)
        if is_news:
            metrics.REVOKED.labels(delivery.task, delivery.queue).inc()
        return is_news

    def give_back(self, pid: int | None = None) -> list[str]:
        ids = super().give_back(pid)
        for job in self.jobs(ids).values():
            metrics.REJECTED.labels(job["task"], job["queue"]).inc()
        return ids

    def cancel(self, job_id: str) -> bool:
        is_cancelled = super().cancel(job_id)
        if is_cancelled:
            job = self.jobs([job_id])[job_id]
            metrics.REVOKED.labels(job["task"], job["queue"]).inc()
        return is_cancelled


class BoardState(Collector):
    """What waits and runs at this moment, and in whose hands."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def describe(self) -> list[Metric]:
        """Nothing is read before Prometheus asks."""
        return []

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("celery_broker_up", "Whether the file of the jobs can be read.")
        try:
            waiting, running = self._board.waiting(), self._board.running()
            dead = self._board.count_dead()
        except Error:
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        length = GaugeMetricFamily("celery_queue_length", "Jobs that wait.", labels=["queue_name"])
        workers = GaugeMetricFamily(
            "celery_worker_up", "Whether a process takes jobs of this queue.", labels=["hostname"]
        )
        active = GaugeMetricFamily(
            "celery_worker_tasks_active", "Jobs that run.", labels=["hostname"]
        )
        for queue in Queue:
            processes = listening(self._board.bells, queue)
            name = f"{queue}@{socket.gethostname()}"
            length.add_metric([queue], waiting.get(queue, 0))
            workers.add_metric([name], bool(processes))
            active.add_metric([name], sum(running.get(pid, 0) for pid in processes))
        yield from (length, workers, active)
        yield GaugeMetricFamily("celery_dead_letters", "Jobs that failed for good.", value=dead)
