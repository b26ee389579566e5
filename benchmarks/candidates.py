"""Who is compared: rendered projects, plain Celery, its peers, and what bare Redis would take."""

import json
from collections.abc import Mapping

from .arena import Candidate

ONCE = "at least once"
LOSES = "may lose"
# A job is gone while it is on its way from Redis to the worker.
FETCHES = "loses what it fetches"
FAILS = "counts as failed"
# Beside what each candidate is told anyway.
Settings = Mapping[str, str]
NONE: Settings = {}
RESULTS: Settings = {"BENCHMARK_RESULTS": "1"}
QUIET: Settings = {"LOG_LEVEL": "WARNING"}
# What other templates for Celery ship.
TEMPLATES = {
    "task_acks_late": True,
    "task_track_started": True,
    "worker_prefetch_multiplier": 1,
    "worker_send_task_events": True,
    "task_send_sent_event": True,
}

# What bounds a job and a process of a rendered project that nobody has configured.
LIMITS = {"task_time_limit": 600, "worker_max_tasks_per_child": 1000}


def rendered(name: str, home: str, concurrency: int = 2, settings: Settings = NONE) -> Candidate:
    pool = ("--pool", "gevent") if home == "gevent" else ()
    worker = ("-m", "celery", "-A", "order_jobs", "worker", *pool)
    settings = {"WORKER_CONCURRENCY": str(concurrency), **settings}
    return Candidate(name, home, "with_rendered", worker, ONCE, settings)


def celery(
    name: str,
    *options: str,
    concurrency: int = 2,
    guarantee: str = LOSES,
    settings: Settings = NONE,
) -> Candidate:
    worker = ("-m", "celery", "-A", "with_celery", "worker", "-c", str(concurrency), *options)
    return Candidate(name, "celery", "with_celery", worker, guarantee, settings)


def dramatiq(
    name: str, processes: int = 2, threads: int = 8, settings: Settings = NONE
) -> Candidate:
    worker = ("-m", "dramatiq", "with_dramatiq", "-p", str(processes), "-t", str(threads))
    return Candidate(name, "dramatiq", "with_dramatiq", worker, ONCE, settings)


def taskiq(
    name: str,
    broker: str = "list",
    processes: int = 2,
    at_once: int = 100,
    settings: Settings = NONE,
) -> Candidate:
    size = ("--workers", str(processes), "--max-async-tasks", str(at_once))
    worker = ("-m", "taskiq", "worker", "with_taskiq:broker", *size)
    guarantee = {"list": LOSES, "stream": ONCE}[broker]
    settings = {"BENCHMARK_BROKER": broker, **settings}
    return Candidate(name, "taskiq", "with_taskiq", worker, guarantee, settings)


def arq(name: str, processes: int = 2, at_once: int = 10) -> Candidate:
    worker = ("-m", "arq", "with_arq.WorkerSettings")
    settings = {"BENCHMARK_CONCURRENCY": str(at_once)}
    return Candidate(name, "arq", "with_arq", worker, ONCE, settings, copies=processes)


def huey(
    name: str, workers: int = 2, kind: str = "process", settings: Settings = NONE
) -> Candidate:
    worker = ("-m", "huey.bin.huey_consumer", "with_huey.huey", "-w", str(workers), "-k", kind)
    return Candidate(name, "huey", "with_huey", worker, LOSES, settings)


def rq(name: str, processes: int = 2) -> Candidate:
    # Its module has no __main__.
    start = "from rq.cli import main; main()"
    worker = ("-c", start, "worker-pool", "-n", str(processes), "-c", "with_rq")
    return Candidate(name, "rq", "with_rq", worker, FAILS)


RENDERED = rendered("rendered, results nowhere", "prefork")
RENDERED_RESULTS = rendered("rendered, results in Redis", "prefork-redis")
RENDERED_DEFAULTS = rendered("rendered, every default", "defaults")
RENDERED_QUIET = rendered("rendered, results nowhere, LOG_LEVEL=WARNING", "prefork", settings=QUIET)
RENDERED_THREADS = rendered("rendered, 20 threads", "threads", 20)
RENDERED_GEVENT = rendered("rendered, 100 greenlets", "gevent", 100)
CELERY = celery("Celery's defaults")
CELERY_RESULTS = celery("Celery's defaults, results in Redis", settings=RESULTS)
CELERY_LIMITED = celery(
    "Celery's defaults with these limits", settings={"CELERY_OPTIONS": json.dumps(LIMITS)}
)
CELERY_TEMPLATES = celery(
    "Celery as other templates set it",
    "-E",
    "-l",
    "info",
    guarantee=FETCHES,
    settings={**RESULTS, "CELERY_OPTIONS": json.dumps(TEMPLATES)},
)
DRAMATIQ = dramatiq("dramatiq, 8 threads a process")
TASKIQ_LIST = taskiq("taskiq, list")
TASKIQ_STREAM = taskiq("taskiq, stream", "stream")
ARQ = arq("arq")
HUEY = huey("huey")
RQ = rq("rq")
REDIS = Candidate(
    "bare Redis: push, blocking pop", "redis", "with_redis", ("-m", "with_redis"), LOSES, copies=2
)

ALL = (
    RENDERED_DEFAULTS,
    RENDERED_RESULTS,
    RENDERED,
    RENDERED_QUIET,
    RENDERED_THREADS,
    RENDERED_GEVENT,
    CELERY,
    CELERY_RESULTS,
    CELERY_TEMPLATES,
    DRAMATIQ,
    TASKIQ_LIST,
    TASKIQ_STREAM,
    ARQ,
    HUEY,
    RQ,
    REDIS,
)
