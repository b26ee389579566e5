"""What only Celery knows: tasks that are sent and received, how worker, beat and queues are."""

import time
from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Any

import structlog
from celery import Celery
from celery.signals import (
    after_task_publish,
    beat_init,
    before_task_publish,
    task_received,
    worker_init,
#{% if cookiecutter.__worker_pool == "prefork" %}
    worker_process_init,
#{% endif %}
)
from celery.worker import state
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from . import dead_letters, metrics
from .broker import DEAD_LETTERS_QUEUE, QUEUES
from .metrics_server import serve
from .queues import queue_of
from .sending import prompt_connection
from .settings import settings

log = structlog.stdlib.get_logger()

# The header that says when a task was sent, in seconds since 1970.
SENT_AT = "sent_at"


def count_tasks(app: Celery) -> None:
    """Have senders say when, and have what has a METRICS_PORT count tasks and answer there."""
    before_task_publish.connect(_stamp)
    if settings.metrics_port is not None:
        # A name, so that programs which only send tasks do not import the worker.
        app.Task.Request = f"{__package__}.counted_request:CountedRequest"
        after_task_publish.connect(_count_sent)
        task_received.connect(_count_received)
        dead_letters.buried.connect(_count_buried)
        worker_init.connect(_serve_worker)
        beat_init.connect(_serve_beat)


def _stamp(headers: dict[str, Any], **_: Any) -> None:
    headers[SENT_AT] = time.time()


def _count_sent(sender: str, routing_key: str, **_: Any) -> None:
    metrics.SENT.labels(sender, queue_of(routing_key)).inc()


def _count_received(request: Any, **_: Any) -> None:
    metrics.RECEIVED.labels(request.name, queue_of(request.delivery_info["routing_key"])).inc()


def _count_buried(sender: Celery, about: dict[str, Any], **_: Any) -> None:
    # Whoever may send could name a new one in each message.
    name = about["task"] if about["task"] in sender.tasks else ""
    metrics.BURIED.labels(name, about["queue"]).inc()


def _serve_worker(sender: Any, **_: Any) -> None:
    queues = sender.app.amqp.queues.consume_from
    for name in sender.app.tasks:
        queue = sender.app.amqp.router.route({}, name)["queue"].name
        if queue in queues and not name.startswith("celery."):
            metrics.begin(name, queue)
#{% if cookiecutter.__worker_pool != "prefork" %}
    serve(WorkerState(sender))
#{% endif %}
#{% if cookiecutter.__worker_pool == "prefork" %}
    listener = serve(WorkerState(sender))
#{% endif %}
#{% if cookiecutter.__worker_pool == "prefork" %}

    def leave(**_: Any) -> None:
        if listener:
            listener.close()

    # A process of the pool that outlives a killed worker would keep the port from the next one.
    worker_process_init.connect(leave, weak=False)
#{% endif %}


def _serve_beat(sender: Any, **_: Any) -> None:
    serve(BeatState(sender.scheduler), BrokerState(sender.app, sender.scheduler))


class WorkerState(Collector):
    """Of the worker at this moment."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker

    def collect(self) -> Iterator[Metric]:
        consumer = getattr(self._worker, "consumer", None)
        is_connected = consumer is not None and consumer.connection is not None
        name = self._worker.hostname
        up, active = {name: is_connected}, {name: len(state.active_requests)}
        yield _gauge("celery_worker_up", "Whether it takes tasks.", "hostname", up)
        yield _gauge("celery_worker_tasks_active", "Tasks that it runs.", "hostname", active)


class BeatState(Collector):
    """Of beat at this moment; one that waits for another one's place tells nothing."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler

    def collect(self) -> Iterator[Metric]:
        if self._scheduler.ticked_at is not None:
            yield GaugeMetricFamily(
                "celery_beat_last_tick_timestamp_seconds",
                "When it last had sent all that was due, in seconds since 1970.",
                value=self._scheduler.ticked_at,
            )


class BrokerState(Collector):
    """What waits. It is told by the one beat that sends: sums over processes stay right."""

    def __init__(self, app: Celery, scheduler: Any) -> None:
        self._app, self._scheduler = app, scheduler
        self._lock = Lock()

    def describe(self) -> list[Metric]:
        """Nothing is asked of the broker before Prometheus asks."""
        return []

    def collect(self) -> Iterator[Metric]:
        if not self._scheduler.sends:
            return
        try:
            with self._lock, prompt_connection(self._app) as connection:
                connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
                channel = connection.default_channel
                lengths = {queue.name: _length(queue, channel) for queue in QUEUES}
                letters = _length(DEAD_LETTERS_QUEUE, channel)
        except Exception as error:
            log.warning("the queues cannot be read", error=repr(error))
            yield GaugeMetricFamily("celery_broker_up", "Whether it answers.", value=0)
            return
        yield GaugeMetricFamily("celery_broker_up", "Whether it answers.", value=1)
        yield _gauge("celery_queue_length", "Tasks that wait.", "queue_name", lengths)
        yield GaugeMetricFamily("celery_dead_letters", "Tasks that failed for good.", value=letters)


def _length(queue: Any, channel: Any) -> int:
    return int(queue(channel).queue_declare().message_count)


def _gauge(name: str, about: str, label: str, found: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, about, labels=[label])
    for value_of_label, value in found.items():
        family.add_metric([value_of_label], value)
    return family
