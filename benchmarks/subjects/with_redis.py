"""The floor: bare redis-py that pushes messages, and a worker that pops and runs them."""

import json
import os
from typing import Any

import workload
from redis import Redis

# As long as a message of Celery.
LENGTH = 900

client: Any = Redis.from_url(f"{os.environ['BENCHMARK_REDIS']}/0")


def message(job: str, number: int) -> bytes:
    return json.dumps([job, number]).encode().ljust(LENGTH)


def send(job: str, number: int) -> None:
    client.lpush("jobs", message(job, number))


def send_in_bulk(job: str, numbers: range) -> None:
    for first in range(0, len(numbers), 100):
        client.lpush("jobs", *(message(job, number) for number in numbers[first : first + 100]))


def work() -> None:
    while True:
        _, found = client.brpop("jobs")
        job, number = json.loads(found)
        workload.SYNC[job](number)


if __name__ == "__main__":
    work()
