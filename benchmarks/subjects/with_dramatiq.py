"""Dramatiq; its results only when they are asked for."""

import os
from typing import Any

import dramatiq
import workload
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

URL = os.environ["BENCHMARK_REDIS"]
KEEPS_RESULTS = "BENCHMARK_RESULTS" in os.environ

broker = RedisBroker(url=f"{URL}/0")
if KEEPS_RESULTS:
    broker.add_middleware(Results(backend=RedisBackend(url=f"{URL}/1")))
dramatiq.set_broker(broker)
options = {"store_results": True} if KEEPS_RESULTS else {}
ACTORS = {
    name: dramatiq.actor(function, actor_name=name, **options)
    for name, function in workload.SYNC.items()
}


def send(job: str, number: int) -> Any:
    return ACTORS[job].send(number)


def result(sent: Any) -> None:
    sent.get_result(block=True, timeout=60_000)
