"""Huey, which keeps results of what returns one."""

import os
from typing import Any

import workload
from huey import RedisHuey

RESULTS = "BENCHMARK_RESULTS" in os.environ

huey = RedisHuey(
    url=f"{os.environ['BENCHMARK_REDIS']}/0",
    results=RESULTS,
    store_none=RESULTS,
    # Otherwise who waits asks every tenth of a second.
    notify_result=RESULTS,
)
TASKS = {name: huey.task(name=name)(function) for name, function in workload.SYNC.items()}


def send(job: str, number: int) -> Any:
    return TASKS[job](number)


def result(sent: Any) -> None:
    sent.get(blocking=True, timeout=60, preserve=True)
