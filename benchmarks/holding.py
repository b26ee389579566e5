"""What a worker takes up: when it starts, idles, works, and has very many jobs before it."""

import json
import time
from functools import partial
from typing import Any

from . import candidates as known
from .arena import Arena, Candidate
from .processes import LOOK_EVERY, between
from .tables import Measurement, Row

# Seconds in which nothing here should happen.
IDLE = 5.0
# Seconds that no worker takes to fetch all there is.
TIMEOUT = 900
# KEYS: a list. ARGV: how many, the first number, what differs in each of them.
COPY = """
local raw = redis.call('LINDEX', KEYS[1], -1)
for number = ARGV[2], ARGV[2] + ARGV[1] - 1 do
  local copy = raw
  for index = 3, #ARGV do
    local pattern = string.gsub(ARGV[index], '-', '%%-')
    copy = string.gsub(copy, pattern, string.format('%08x', number) .. string.sub(ARGV[index], 9))
  end
  redis.call('LPUSH', KEYS[1], copy)
end
"""
AT_ONCE = 5_000


def fill(arena: Arena, count: int) -> str:
    """Copy the only message inside Redis. Returns the key of its list."""
    client = arena.redis.client
    (key,) = client.scan_iter(_type="list")
    differs = _ids(client.lindex(key, -1))
    for first in range(1, count, AT_ONCE):
        client.eval(COPY, 1, key, min(AT_ONCE, count - first), first, *differs)
    assert client.llen(key) == count
    return str(key.decode())


def queue(arena: Arena, candidate: Candidate, count: int) -> None:
    """So many jobs that do nothing, sooner than they could be sent."""
    arena.empty()
    with arena.driver(candidate) as driver:
        driver.ask("send", {"job": "nothing", "count": 1})
    fill(arena, count)


def _ids(message: bytes) -> list[str]:
    """By which a worker of Celery tells its tasks apart. Others take equal messages."""
    try:
        content: Any = json.loads(message)
        return [content["headers"]["id"], content["properties"]["delivery_tag"]]
    except (ValueError, TypeError, KeyError):
        return []


def remembered(arena: Arena, candidate: Candidate) -> dict[str, float]:
    arena.empty()
    with arena.worker(candidate) as worker, arena.driver(candidate) as driver:
        driver.ask("send", {"job": "nothing", "count": 200})
        worker.wait_for(200)
        idle = worker.memory()
        driver.ask("send", {"job": "wait", "count": 400})
        worker.wait_for(250)
        return {"idle": idle, "busy": worker.memory()}


MEMORY = Measurement(
    "memory",
    "Megabytes of a worker with all its processes, what they share counted once (PSS): when 200 "
    "jobs that do nothing have run, and amid jobs that wait for 50 ms",
    {"idle": "Idle, MB", "busy": "Busy, MB"},
    [
        Row(each.name, partial(remembered, candidate=each))
        for each in (
            *known.ALL,
            known.rendered("rendered, 8 processes", "prefork", 8),
            known.rendered("rendered, 200 threads", "threads", 200),
            known.rendered("rendered, 200 greenlets", "gevent", 200),
        )
    ],
)


def started(arena: Arena, candidate: Candidate) -> dict[str, float]:
    arena.empty()
    with arena.driver(candidate) as driver:
        driver.ask("send", {"job": "nothing", "count": 1})
    began = time.monotonic()
    with arena.worker(candidate) as worker:
        look = worker.wait_for(1)
        return {"seconds": worker.marks()[0] - began, "cpu": look.cpu}


START = Measurement(
    "start",
    "From the start of the worker's process until it has run a job that was waiting; bytecode is "
    "compiled",
    {"seconds": "Seconds", "cpu": "CPU until then, s"},
    [Row(each.name, partial(started, candidate=each)) for each in known.ALL],
)


def behind(arena: Arena, candidate: Candidate, queued: int) -> dict[str, float]:
    queued, around, count = arena.size(queued), 50, arena.size(2000)
    queue(arena, candidate, queued)
    with arena.worker(candidate) as worker:
        before = worker.wait_for(around)
        after = worker.wait_for(around + count)
        return {
            "cpu": between(before, after)["cpu"],
            "redis_cpu": between(before, after)["redis_cpu"],
            "worker": worker.memory(),
            "redis": arena.redis.memory(),
        }


BACKLOG = Measurement(
    "backlog",
    "The first 2,000 of 10,000 and of 1,000,000 jobs that do nothing; two processes where the row "
    "does not say otherwise",
    {
        "cpu": "CPU of the worker, µs a job",
        "redis_cpu": "CPU of Redis, µs a job",
        "worker": "Worker, MB",
        "redis": "Redis, MB",
    },
    [
        Row(f"{each.name}, {queued:,}", partial(behind, candidate=each, queued=queued))
        for each in (
            known.RENDERED,
            known.RENDERED_THREADS,
            known.CELERY,
            known.TASKIQ_LIST,
            known.HUEY,
        )
        for queued in (10_000, 1_000_000)
    ],
)


def at_length(arena: Arena, candidate: Candidate) -> dict[str, float]:
    """What the first and the last tenth of a long queue take."""
    count = arena.size(100_000)
    tenth = count // 10
    queue(arena, candidate, count)
    found: dict[str, float] = {}
    with arena.worker(candidate) as worker:
        for name, first in (("first", 0), ("last", count - tenth)):
            before = worker.wait_for(first + tenth // 10, TIMEOUT)
            after = worker.wait_for(first + tenth * 9 // 10, TIMEOUT)
            found |= {f"{name}_cpu": between(before, after)["cpu"], name: worker.memory()}
    return found


LONG = Measurement(
    "long",
    "The first and the last tenth of 100,000 jobs that do nothing, run by one worker of two "
    "processes, each of which is replaced after 1,000 jobs; no job may take more than ten minutes",
    {
        "first_cpu": "First, CPU of the worker, µs a job",
        "last_cpu": "Last, CPU of the worker, µs a job",
        "first": "First, worker, MB",
        "last": "Last, worker, MB",
    },
    [
        Row(each.name, partial(at_length, candidate=each))
        for each in (known.RENDERED, known.CELERY_LIMITED)
    ],
)


def delayed(arena: Arena, candidate: Candidate) -> dict[str, float]:
    count = arena.size(100_000)
    arena.empty()
    with arena.driver(candidate) as driver:
        driver.ask("send", {"job": "nothing", "count": 1, "countdown": 3600})
        key = fill(arena, count)
        began = time.monotonic()
        with arena.worker(candidate) as worker:
            while arena.redis.client.llen(key):
                if time.monotonic() > began + TIMEOUT:
                    raise TimeoutError(f"The worker does not fetch them all:\n{worker.output()}")
                time.sleep(LOOK_EVERY * 10)
            swallowed = time.monotonic() - began
            trips = driver.ask("one_at_a_time", {"count": arena.size(200)}, TIMEOUT)
            times = sorted(there - sent for _, sent, there in trips)
            before = worker.cpu()
            time.sleep(IDLE)
            return {
                "swallowed": swallowed,
                "median": times[len(times) // 2] * 1e3,
                "longest": times[-1] * 1e3,
                "memory": worker.memory(),
                "cpu": (worker.cpu() - before) / IDLE * 100,
            }


DELAYED = Measurement(
    "delayed",
    "100,000 tasks that are due in an hour, held by one worker, and 200 without a delay sent "
    "one at a time meanwhile; two processes where the row does not say otherwise",
    {
        "swallowed": "Until it holds all, s",
        "median": "Without delay, to result, median, ms",
        "longest": "Longest, ms",
        "memory": "Worker, MB",
        "cpu": "CPU when idle, % of a core",
    },
    [
        Row(each.name, partial(delayed, candidate=each))
        for each in (
            known.RENDERED_RESULTS,
            known.rendered("rendered, results in Redis, 20 threads", "threads-redis", 20),
            known.CELERY_RESULTS,
        )
    ],
)
