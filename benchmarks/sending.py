"""What it takes to send jobs, and how soon they run and their results are there."""

import statistics
from collections.abc import Mapping
from functools import partial

from . import candidates as known
from .arena import Arena, Candidate
from .draining import drained
from .tables import Measurement, Row


def enqueued(
    arena: Arena, candidate: Candidate, command: str = "send", count: int = 2000, **options: str
) -> dict[str, float]:
    count = arena.size(count)
    arena.empty()
    with arena.driver(candidate) as driver:
        # For connections, and whatever else is done only once.
        driver.ask(command, job="nothing", count=100, **options)
        before = arena.redis.commands()
        spent = driver.ask(command, job="nothing", count=count, **options)
        after = arena.redis.commands()
    return {
        "rate": count / spent["seconds"],
        "cpu": spent["cpu"] / count * 1e6,
        "commands": (after - before) / count,
    }


def row(candidate: Candidate, what: str, command: str = "send", **options: str) -> Row:
    measure = partial(enqueued, candidate=candidate, command=command, **options)
    return Row(f"{candidate.name.split(',')[0].split(':')[0]}: {what}", measure)


ENQUEUE = Measurement(
    "enqueue",
    "2,000 jobs sent by one process, with nobody who takes them",
    {
        "rate": "Jobs a second",
        "cpu": "CPU of the sender, µs a job",
        "commands": "Redis commands a job",
    },
    [
        row(known.RENDERED, "`delay`"),
        row(known.RENDERED_RESULTS, "`delay`, results in Redis"),
        row(known.RENDERED, "in bulk", "send_in_bulk"),
        row(known.RENDERED_RESULTS, "in bulk, results in Redis", "send_in_bulk"),
        row(known.RENDERED, "`chunks` of 100", "send_in_bulk", way="chunks"),
        row(known.CELERY, "`delay`"),
        row(known.CELERY_RESULTS, "`delay`, results in Redis"),
        row(known.CELERY, "`group`", "send_in_bulk"),
        row(known.CELERY, "`chunks` of 100", "send_in_bulk", way="chunks"),
        row(known.DRAMATIQ, "`send`"),
        row(known.TASKIQ_LIST, "`kiq`, list"),
        row(known.TASKIQ_STREAM, "`kiq`, stream"),
        row(known.ARQ, "`enqueue_job`"),
        row(known.HUEY, "call"),
        row(known.RQ, "`enqueue`"),
        row(known.RQ, "`enqueue_many`", "send_in_bulk"),
        row(known.REDIS, "`LPUSH`"),
        row(known.REDIS, "`LPUSH` of 100", "send_in_bulk"),
    ],
)


def timed(arena: Arena, candidate: Candidate) -> Mapping[str, float]:
    rate = drained(arena, candidate, count=500, around=50)["rate"] / 2
    arena.empty()
    with arena.worker(candidate) as worker, arena.driver(candidate) as driver:
        driver.ask("one_at_a_time", count=20)
        ran = worker.jobs()
        found: dict[str, float] = {}
        for load, command, options in (
            ("low", "one_at_a_time", {"count": arena.size(300)}),
            ("half", "at_rate", {"count": arena.size(2000), "rate": rate}),
        ):
            trips = driver.ask(command, **options)
            ran += len(trips)
            worker.wait_for(ran)
            # Numbers begin anew each time, and the last of each is the one of these.
            marks = worker.marks()
            starts = [marks[number] - sent for number, sent, _ in trips]
            results = [there - sent for _, sent, there in trips]
            for what, times in (("start", starts), ("result", results)):
                parts = statistics.quantiles(times, n=100)
                found |= {f"{load}_{what}_50": parts[49] * 1e3, f"{load}_{what}_99": parts[98] * 1e3}
        return found


def headings(load: str, title: str) -> dict[str, str]:
    return {
        f"{load}_{what}_{part}": f"{title}, to {what}, {word}"
        for what in ("start", "result")
        for part, word in ((50, "median"), (99, "p99"))
    }


LATENCY = Measurement(
    "latency",
    "Milliseconds from sending a job that does nothing to its start, and until the sender has its "
    "result: one at a time, and sent at random times at half the rate at which this worker drains a "
    "queue, by up to 32 callers; two processes, or 20 threads",
    headings("low", "One at a time") | headings("half", "Half load"),
    [
        Row(each.name, partial(timed, candidate=each))
        for each in (
            known.RENDERED_RESULTS,
            known.rendered("rendered, results in Redis, 20 threads", "threads-redis", 20),
            known.rendered("rendered, results in PostgreSQL", "prefork-postgres"),
            known.CELERY_RESULTS,
            known.CELERY_TEMPLATES,
            known.dramatiq("dramatiq, results in Redis", **known.RESULTS),
            known.taskiq("taskiq, list, results in Redis", **known.RESULTS),
            known.taskiq("taskiq, stream, results in Redis", "stream", **known.RESULTS),
            known.ARQ,
            known.huey("huey, results in Redis", **known.RESULTS),
            known.RQ,
        )
    ],
)
