"""RQ, which always keeps results."""

import os
from typing import Any

import workload
from redis import Redis
from rq import Queue

# Its command reads this name.
REDIS_URL = f"{os.environ['BENCHMARK_REDIS']}/0"

queue = Queue(connection=Redis.from_url(REDIS_URL))


def send(job: str, number: int) -> Any:
    return queue.enqueue(workload.SYNC[job], number)


def send_in_bulk(job: str, numbers: range) -> None:
    queue.enqueue_many(Queue.prepare_data(workload.SYNC[job], (number,)) for number in numbers)


def result(sent: Any) -> None:
    assert sent.latest_result(timeout=60)
