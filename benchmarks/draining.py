"""How quickly workers run jobs that wait in a queue, and what each job takes."""

from dataclasses import replace
from functools import partial

from . import candidates as known
from .arena import Arena, Candidate
from .processes import between
from .tables import Measurement, Row
from .waiting_server import running_server

COLUMNS = {
    "rate": "Jobs a second",
    "cpu": "CPU of the worker, µs a job",
    "redis_cpu": "CPU of Redis, µs a job",
    "commands": "Redis commands a job",
    "requests": "Requests to Redis a job",
}
GUARANTEE = "Jobs of a worker that is killed"


def drained(
    arena: Arena, candidate: Candidate, job: str = "nothing", count: int = 2000, around: int = 200
) -> dict[str, float]:
    """The middle of a longer queue, so that neither the worker's start nor its last jobs count."""
    count = arena.size(count)
    arena.empty()
    with arena.driver(candidate) as driver:
        driver.ask("send", {"job": job, "count": around + count + around})
    with arena.worker(candidate) as worker:
        before = worker.wait_for(around)
        return between(before, worker.wait_for(around + count))


def row(
    candidate: Candidate, job: str = "nothing", count: int = 2000, around: int = 200, name: str = ""
) -> Row:
    measure = partial(drained, candidate=candidate, job=job, count=count, around=around)
    return Row(name or candidate.name, measure, candidate.guarantee)


DRAIN = Measurement(
    "drain",
    "A queue of 2,000 jobs that do nothing, full before the worker starts; two processes where the "
    "row does not say otherwise",
    COLUMNS,
    [row(each, around=20 if each is known.RQ else 200) for each in known.ALL],
    GUARANTEE,
)


def with_prefetch(candidate: Candidate, each: int) -> Candidate:
    # What follows is read as settings of the worker.
    worker = (*candidate.worker, "--", f"worker_prefetch_multiplier={each}")
    return replace(candidate, name=f"{candidate.name}, {each}", worker=worker)


PREFETCH = Measurement(
    "prefetch",
    "2,000 jobs that do nothing, of which a worker has 1 to 64 in hand for each that it runs",
    COLUMNS,
    [
        row(with_prefetch(candidate, each))
        for candidate in (
            known.rendered("2 processes", "prefork"),
            known.rendered("20 threads", "threads", 20),
        )
        for each in (1, 4, 16, 64)
    ],
    GUARANTEE,
)


def waiting() -> list[Row]:
    found = [row(known.RENDERED, "wait", 200, 20, "rendered, 2 processes")]
    for home, kind in (("threads", "threads"), ("gevent", "greenlets")):
        for at_once in (50, 200):
            candidate = known.rendered(f"rendered, {at_once} {kind}", home, at_once)
            found.append(row(candidate, "wait"))
            found.append(row(candidate, "wait_async", name=f"{candidate.name}, by run_async"))
        name = f"rendered, 200 {kind}, LOG_LEVEL=WARNING"
        found.append(row(known.rendered(name, home, 200, known.QUIET), "wait"))
    peers = [
        known.celery("Celery's defaults, 200 threads", "-P", "threads", concurrency=200),
        known.dramatiq("dramatiq, 1 process of 200 threads", 1, 200),
        known.taskiq("taskiq, list, 1 process of 200", "list", 1, 200),
        known.taskiq("taskiq, stream, 1 process of 200", "stream", 1, 200),
        known.arq("arq, 1 process of 200", 1, 200),
        known.huey("huey, 200 threads", 200, "thread"),
    ]
    return [*found, *(row(each, "wait") for each in peers)]


WAITING = Measurement(
    "waiting",
    "Jobs that wait for 50 ms: `time.sleep`, or `asyncio.sleep` by `run_async` and in taskiq and "
    "arq; one worker",
    COLUMNS,
    waiting(),
    GUARANTEE,
)

COMPUTING = Measurement(
    "computing",
    "Jobs that compute for some milliseconds in Python; two processes, or one with threads or "
    "greenlets",
    COLUMNS,
    [row(each, "compute", 500, 50) for each in known.ALL],
    GUARANTEE,
)


def more_processes(arena: Arena, candidate: Candidate, processes: int) -> dict[str, float]:
    nothing = drained(arena, candidate)
    wait = drained(arena, candidate, "wait", 100 * processes, 4 * processes)
    return {
        "rate": nothing["rate"],
        "cpu": nothing["cpu"],
        "waiting_rate": wait["rate"],
        "waiting_cpu": wait["cpu"],
    }


def of_processes(processes: int) -> list[Candidate]:
    return [
        known.rendered(f"rendered, {processes}", "prefork", processes),
        known.celery(f"Celery's defaults, {processes}", concurrency=processes),
        known.dramatiq(f"dramatiq, {processes} of one thread", processes, 1),
    ]


WORKERS = Measurement(
    "workers",
    "One worker of 1 to 16 processes, with jobs that do nothing and with jobs that wait for 50 ms",
    {
        "rate": "Nothing: jobs a second",
        "cpu": "CPU, µs a job",
        "waiting_rate": "Waiting: jobs a second",
        "waiting_cpu": "CPU, µs a job",
    },
    [
        Row(each.name, partial(more_processes, candidate=each, processes=processes))
        for processes in (1, 2, 4, 8, 16)
        for each in of_processes(processes)
    ],
)


def fetching(arena: Arena, candidate: Candidate, count: int) -> dict[str, float]:
    with running_server() as server:
        settings = {**candidate.settings, "BENCHMARK_SERVER": str(server.port)}
        found = drained(arena, replace(candidate, settings=settings), "fetch", count)
        return {"rate": found["rate"], "cpu": found["cpu"], "at_once": server.most_at_once}


RUN_ASYNC = Measurement(
    "run_async",
    "Jobs that ask a server on the same machine by `run_async`, which answers after 50 ms; one "
    "worker of a rendered project",
    {
        "rate": "Jobs a second",
        "cpu": "CPU of the worker, µs a job",
        "at_once": "Most requests at a time",
    },
    [
        Row(name, partial(fetching, candidate=known.rendered(name, home, at_once), count=count))
        for name, home, at_once, count in (
            ("2 processes", "prefork", 2, 200),
            ("50 threads", "threads", 50, 2000),
            ("200 threads", "threads", 200, 2000),
            ("50 greenlets", "gevent", 50, 2000),
            ("200 greenlets", "gevent", 200, 2000),
        )
    ],
)
