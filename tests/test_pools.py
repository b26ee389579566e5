"""Coroutines of a rendered project's tasks work in real workers of every pool it may run in."""

import json
import os
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from combinations import Answers, Render
from environments import Superset, requirements

# Pool -> how many tasks one worker runs at a time.
POOLS = {"prefork": 2, "threads": 50, "gevent": 200}

TASKS = """
import asyncio
import os
from functools import cache as once

import redis.asyncio
from celery import shared_task
from sqlalchemy import text

from pooled_jobs import cache, database
from pooled_jobs.run_async import run_async
from pooled_jobs.settings import settings

# What is kept cannot have its id given to what comes after it.
kept = set()


@once
def client():
    return redis.asyncio.Redis.from_url(
        settings.cache_url, max_connections=1000, socket_timeout=30
    )


def identities():
    own = {
        "loop": asyncio.get_running_loop(),
        "client": client(),
        "engine": database.engine(),
        "cache": cache.cache(),
    }
    kept.update(own.values())
    return {"process": os.getpid()} | {name: id(thing) for name, thing in own.items()}


async def _meet(guests, meeting):
    place = await client().incr(f"{meeting}:arrived")
    async with database.session() as session:
        await session.scalar(text("SELECT count(*) FROM sqlite_master"))
    await asyncio.sleep(0.01)  # the loop's clock has to go on too
    door = f"{meeting}:door:{(place - 1) // guests}"
    if place % guests == 0:
        # A Redis that is slow for some milliseconds: all ask the cache before one has its answer.
        async with client().pipeline() as pipe:
            await pipe.rpush(door, *range(guests)).client_pause(guests).execute()
    if await client().blpop(door, timeout=20) is None:
        raise TimeoutError(f"guest {place} waited for {guests} tasks to run at once")
    await cache.cache().get("nothing")
    return identities()


async def _recall():
    return await cache.remember("recalled", 600, lambda: client().incr("computed"))


async def _wait_for_ever(farewell):
    try:
        await asyncio.Event().wait()
    finally:
        await client().rpush(farewell, "ended")


async def _hear(farewell):
    return await client().blpop(farewell, timeout=10) is not None


@shared_task
def meet(guests, meeting):
    return run_async(_meet(guests, meeting))


@shared_task
def recall():
    return run_async(_recall())


# It ends nothing that has not begun by then.
@shared_task(soft_time_limit=3)
def wait_for_ever(farewell):
    return run_async(_wait_for_ever(farewell))


@shared_task
def hear(farewell):
    return run_async(_hear(farewell))
"""

# Starts a broker and a worker; then each line it reads is a task, how often it is sent, and its
# arguments, and each line it writes the outcomes. Stops both when there is nothing more to read.
SERVICE = """
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from celery import group
from celery.exceptions import TimeoutError

from pooled_jobs import embedded_broker

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the broker and the worker say is no answer

with embedded_broker.running(Path("broker")) as broker:
    names = ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "CACHE_URL")
    os.environ |= {name: broker.url(database) for database, name in enumerate(names)}
    from pooled_jobs.celery import app

    worker = [sys.executable, "-m", "celery", "-A", "pooled_jobs", "worker", *sys.argv[1:]]
    with subprocess.Popen(worker, process_group=0) as running:
        try:
            for line in sys.stdin:
                task, times, arguments = json.loads(line)
                sent = group([app.signature(f"pool_tasks.{task}", arguments)] * times).delay()
                with suppress(TimeoutError):
                    sent.join(timeout=60, propagate=False)
                outcomes = [(one.state, one.result) for one in sent]
                print(json.dumps(outcomes, default=repr), file=answers, flush=True)
        finally:
            os.killpg(running.pid, signal.SIGKILL)
"""


@dataclass
class Pool:
    """A worker that runs as many tasks at a time as `size`, with a broker of its own."""

    name: str
    size: int
    service: subprocess.Popen[str]
    log: Path

    def outcomes(self, task: str, *arguments: object, times: int = 1) -> list[Any]:
        """State and result of a task that is sent so many times at once."""
        assert self.service.stdin
        assert self.service.stdout
        print(json.dumps((task, times, arguments)), file=self.service.stdin, flush=True)
        answer = self.service.stdout.readline()
        assert answer, f"the worker does not answer:\n{self.log.read_text()[-5000:]}"
        outcomes: list[Any] = json.loads(answer)
        return outcomes

    def results(self, task: str, *arguments: object, times: int = 1) -> list[Any]:
        outcomes = self.outcomes(task, *arguments, times=times)
        failed = [outcome for outcome in outcomes if outcome[0] != "SUCCESS"]
        assert not failed, f"{len(failed)} of {times} failed, first {failed[0]}; {self.log}"
        return [result for _, result in outcomes]


@pytest.fixture(scope="session")
def pooled_project(render: Render) -> Path:
    chosen = ("include_sqlalchemy", "include_aiocache")
    others = ("include_flower", "include_docker", "include_examples")
    answers: Answers = {"project_slug": "pooled-jobs"}
    return render(answers | dict.fromkeys(chosen, True) | dict.fromkeys(others, False))


@pytest.fixture(scope="session")
def gevent_superset(pooled_project: Path) -> Superset:
    """What the project declares, and gevent, which is for those who want that pool to add."""
    return Superset(requirements(pooled_project) | {"gevent>=26.9"})


@pytest.fixture(scope="session", params=POOLS)
def pool(
    request: pytest.FixtureRequest,
    pooled_project: Path,
    gevent_superset: Superset,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pool]:
    folder = tmp_path_factory.mktemp(request.param)
    for name, content in (("pool_tasks", TASKS), ("service", SERVICE)):
        (folder / f"{name}.py").write_text(content, "utf-8")
    size = POOLS[request.param]
    options = {"include": "pool_tasks", "pool": request.param, "concurrency": size}
    python = gevent_superset.folder / "bin" / "python"
    arguments = [f"--{name}={value}" for name, value in options.items()]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(
            [python, "service.py", "--without-mingle", *arguments],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{folder}:{pooled_project}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as service,
    ):
        yield Pool(request.param, size, service, folder / "log")
        assert service.stdin
        service.stdin.close()
        assert service.wait(20) == 0, (folder / "log").read_text()[-5000:]


pytestmark = pytest.mark.timeout(120, func_only=True)
only_prefork = pytest.mark.parametrize("pool", ["prefork"], indirect=True, scope="session")


def test_coroutines_of_as_many_tasks_as_the_pool_holds_run_at_once(pool: Pool) -> None:
    # None of them goes before all have come.
    assert len(pool.results("meet", pool.size, "once", times=pool.size)) == pool.size


def test_tasks_that_end_at_once_are_all_acknowledged(pool: Pool) -> None:
    # One that is not would keep its place, and the second meeting wait for its last guest.
    assert pool.results("meet", pool.size, "twice", times=2 * pool.size)


def test_tasks_of_a_process_share_one_loop_and_the_connections_that_live_on_it(pool: Pool) -> None:
    met: dict[int, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))

    # Each process is at all the meetings, so each has tasks that find what others left.
    for result in pool.results("meet", pool.size, "often", times=max(20, 2 * pool.size)):
        for name, identity in result.items():
            met[result["process"]][name].add(identity)

    assert len(met) == (pool.size if pool.name == "prefork" else 1)
    for own in met.values():
        assert {name: len(identities) for name, identities in own.items()} == dict.fromkeys(own, 1)


def test_what_one_task_computed_all_others_find_in_the_cache(pool: Pool) -> None:
    computed = pool.results("recall")

    assert pool.results("recall", times=100) == computed * 100


@only_prefork
def test_a_task_over_its_soft_time_limit_ends_its_coroutine(pool: Pool) -> None:
    ((state, error),) = pool.outcomes("wait_for_ever", "farewell")

    assert state == "FAILURE"
    assert "SoftTimeLimitExceeded" in error
    assert pool.results("hear", "farewell") == [True]
