"""What it takes to send jobs, and how soon they run and their results are there."""

import statistics
from collections.abc import Mapping
from functools import partial

from . import candidates as known
from .arena import Arena, Candidate
from .tables import Measurement, Row

# Jobs a second that nobody can send.
AT_ONCE = 1e9
# Seconds that no such round trips take.
TIMEOUT = 600


def enqueued(
    arena: Arena, candidate: Candidate, command: str, options: Mapping[str, str]
) -> dict[str, float]:
    count = arena.size(2000)
    arena.empty()
    with arena.driver(candidate) as driver:
        # For connections, and whatever else is done only once.
        driver.ask(command, {"job": "nothing", "count": 100, **options})
        before = arena.redis.commands()
        spent = driver.ask(command, {"job": "nothing", "count": count, **options})
        after = arena.redis.commands()
    return {
        "rate": count / spent["seconds"],
        "cpu": spent["cpu"] / count * 1e6,
        "commands": (after - before) / count,
    }


def row(candidate: Candidate, what: str, command: str = "send", **options: str) -> Row:
    measure = partial(enqueued, candidate=candidate, command=command, options=options)
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
        row(known.RENDERED, "`app.batch()`", "send_in_bulk"),
        row(known.RENDERED_RESULTS, "`app.batch()`, results in Redis", "send_in_bulk"),
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
    arena.empty()
    found: dict[str, float] = {}
    with arena.worker(candidate) as worker, arena.driver(candidate) as driver:
        # The first for whatever is done only once.
        for count in (100, arena.size(1000)):
            trips = driver.ask("at_rate", {"count": count, "rate": AT_ONCE}, TIMEOUT)
        rate = len(trips) / (max(end for *_, end in trips) - trips[0][1]) / 2
        ran = worker.jobs()
        for load, command, options in (
            ("low", "one_at_a_time", {"count": arena.size(300)}),
            ("half", "at_rate", {"count": arena.size(1000), "rate": rate}),
        ):
            trips = driver.ask(command, options, TIMEOUT)
            ran += len(trips)
            worker.wait_for(ran)
            # Numbers begin anew each time, and the last of each is the one of these.
            marks = worker.marks()
            starts = [marks[number] - sent for number, sent, _ in trips]
            results = [there - sent for _, sent, there in trips]
            for what, times in (("start", starts), ("result", results)):
                parts = statistics.quantiles(times, n=100)
                found |= {f"{load}_{what}_50": parts[49] * 1e3}
                found |= {f"{load}_{what}_99": parts[98] * 1e3}
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
    "result: one at a time, and sent at random times by 32 callers, at half the rate that they and "
    "the worker reach together on this machine; two processes, or 20 threads",
    headings("low", "One at a time") | headings("half", "Half load"),
    [
        Row(each.name, partial(timed, candidate=each))
        for each in (
            known.RENDERED_RESULTS,
            known.rendered("rendered, results in Redis, 20 threads", "threads-redis", 20),
            known.rendered("rendered, results in PostgreSQL", "prefork-postgres"),
            known.CELERY_RESULTS,
            known.CELERY_TEMPLATES,
            known.dramatiq("dramatiq, results in Redis", settings=known.RESULTS),
            known.taskiq("taskiq, list, results in Redis", settings=known.RESULTS),
            known.taskiq("taskiq, stream, results in Redis", "stream", settings=known.RESULTS),
            known.ARQ,
            known.huey("huey, results in Redis", settings=known.RESULTS),
            known.RQ,
        )
    ],
)
