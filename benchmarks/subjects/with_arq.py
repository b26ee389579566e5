"""Arq, which always keeps results."""

import os
from typing import Any, ClassVar

import workload
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import func

SETTINGS = RedisSettings.from_dsn(f"{os.environ['BENCHMARK_REDIS']}/0")


def job_of(function: Any) -> Any:
    async def run(_: Any, number: int) -> None:
        await function(number)

    return run


class WorkerSettings:
    functions: ClassVar[Any] = [
        func(job_of(function), name=name) for name, function in workload.ASYNC.items()
    ]
    redis_settings = SETTINGS
    max_jobs = int(os.environ.get("BENCHMARK_CONCURRENCY", "10"))


_pool: Any = None


async def send(job: str, number: int) -> Any:
    global _pool
    _pool = _pool or await create_pool(SETTINGS)
    return await _pool.enqueue_job(job, number)


async def result(sent: Any) -> None:
    # Its default, half a second, is all that would be measured.
    await sent.result(timeout=60, poll_delay=0.001)
