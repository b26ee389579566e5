"""What Prometheus reads of a process: the metrics of its tasks, and those of your own.

One of your own is a line in any module, `READ = Counter("orders_read", "Orders read.")`, and it
counts in every process of a worker.
"""

from prometheus_client import Counter, Histogram

#{% if cookiecutter.__worker_pool in ["prefork", "processes"] %}
from . import metric_files  # noqa: F401

#{% endif %}
# Seconds. Each bucket is a series for each task; these tell a time to within half a power of ten.
BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
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


def begin(name: str, queue: str) -> None:
    """Have its series there before anything happens: what counts increases misses a first one."""
    for metric in OF_TASKS:
        metric.labels(name, queue)
