"""What Prometheus reads of a process: the metrics of its tasks, and those of your own.

One of your own is a line in any module, `READ = Counter("orders_read", "Orders read.")`, and it
counts in every process of a worker.
"""

#{% if cookiecutter.__worker_pool == "prefork" %}
import atexit
import os
import shutil
import tempfile
from typing import Any
#{% endif %}
#{% if cookiecutter.__worker_pool != "prefork" %}
from typing import Any
#{% endif %}

#{% if cookiecutter.__worker_pool == "prefork" %}
from billiard.process import current_process
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server, values
from prometheus_client.multiprocess import MultiProcessCollector
#{% endif %}
#{% if cookiecutter.__worker_pool != "prefork" %}
from prometheus_client import REGISTRY, Counter, Histogram, start_http_server
#{% endif %}
from prometheus_client.registry import Collector

from .settings import settings

# Seconds. Each bucket is a series for each task; these tell a time to within half a power of ten.
BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
#{% if cookiecutter.__worker_pool == "prefork" %}


def _place() -> str:
    """Which process of the pool this is. The one that replaces another counts on from there."""
    return str(getattr(current_process(), "index", "main"))


if settings.metrics_port is not None:
    # Processes count in files, which the one that is asked adds up.
    _folder = tempfile.mkdtemp(prefix="metrics-")
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = _folder
    atexit.register(shutil.rmtree, _folder, ignore_errors=True)
    values.ValueClass = values.MultiProcessValue(_place)  # type: ignore[no-untyped-call]
#{% endif %}

# Names and labels are those of celery-exporter, which published dashboards and alerts know.
TASK = ("name", "queue_name")
SENT = Counter("celery_task_sent", "Tasks that this process has sent.", TASK)
RECEIVED = Counter("celery_task_received", "Tasks that the worker took from a queue.", TASK)
STARTED = Counter("celery_task_started", "Runs of a task that have begun.", TASK)
SUCCEEDED = Counter("celery_task_succeeded", "Runs that ended well.", TASK)
FAILED = Counter("celery_task_failed", "Runs that failed for good.", (*TASK, "exception"))
RETRIED = Counter("celery_task_retried", "Runs that failed and are tried again.", TASK)
REJECTED = Counter("celery_task_rejected", "Runs that were lost, and go back to the queue.", TASK)
REVOKED = Counter("celery_task_revoked", "Tasks that were taken back, or came too late.", TASK)
BURIED = Counter("celery_task_dead_lettered", "Tasks put among the dead letters.", TASK)
RUNTIME = Histogram(
    "celery_task_runtime", "Seconds of runs that ended well.", TASK, buckets=BUCKETS
)
WAIT = Histogram(
    "celery_task_queue_wait_time",
    "Seconds from when a task was sent, or due, until it began.",
    TASK,
    buckets=BUCKETS,
)
OF_TASKS = (RECEIVED, STARTED, SUCCEEDED, RETRIED, REJECTED, REVOKED, BURIED, RUNTIME, WAIT)


def serve(*collectors: Collector) -> Any:
    """Answer at METRICS_HOST and METRICS_PORT from now on, if that is set. Returns the server."""
    if settings.metrics_port is None:
        return None
    #{% if cookiecutter.__worker_pool == "prefork" %}
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    #{% endif %}
    #{% if cookiecutter.__worker_pool != "prefork" %}
    registry = REGISTRY
    #{% endif %}
    for collector in collectors:
        registry.register(collector)
    try:
        server, _ = start_http_server(settings.metrics_port, settings.metrics_host, registry)
    except OSError as problem:
        place = f"{settings.metrics_host}:{settings.metrics_port}"
        raise SystemExit(
            f"METRICS_PORT={settings.metrics_port}: metrics cannot be served at {place}: "
            f"{problem.strerror}. Each process of the service needs a port of its own."
        ) from None
    return server
