"""Taskiq, on a Redis list or stream; its results only when they are asked for."""

import os
from typing import Any

import workload
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend, RedisStreamBroker

URL = os.environ["BENCHMARK_REDIS"]
BROKER = {"list": ListQueueBroker, "stream": RedisStreamBroker}[os.environ["BENCHMARK_BROKER"]]

# From the first message on, as what is measured is queued before the worker starts.
broker: Any = BROKER(f"{URL}/0", **({"consumer_id": "0"} if BROKER is RedisStreamBroker else {}))
if "BENCHMARK_RESULTS" in os.environ:
    # Without a limit each result would stay for ever.
    broker = broker.with_result_backend(RedisAsyncResultBackend(f"{URL}/1", result_ex_time=3600))
TASKS = {
    name: broker.register_task(function, task_name=name)
    for name, function in workload.ASYNC.items()
}


async def send(job: str, number: int) -> Any:
    return await TASKS[job].kiq(number)


async def result(sent: Any) -> None:
    # Its default, 0.2 seconds, is all that would be measured.
    await sent.wait_result(check_interval=0.001, timeout=60)
