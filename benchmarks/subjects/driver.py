"""Sends jobs from a candidate's own environment: reads lines of JSON, and answers each by one."""

import asyncio
import inspect
import json
import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

# Callers that wait for a result at the same time.
CALLERS = 32

Trip = tuple[int, float, float]


class Driver:
    def __init__(self, subject: Any) -> None:
        self._subject = subject
        self._is_async = inspect.iscoroutinefunction(subject.send)
        # Kept, as libraries open connections for each thread.
        self._threads = ThreadPoolExecutor(CALLERS)
        self._places = asyncio.Semaphore(CALLERS)

    async def send(self, job: str, count: int, **options: Any) -> dict[str, float]:
        """One by one."""
        send = self._subject.send
        before, began = time.process_time(), time.perf_counter()
        for number in range(count):
            sent = send(job, number, **options)
            if self._is_async:
                await sent
        return _spent(before, began)

    async def send_in_bulk(self, job: str, count: int, way: str = "bulk") -> dict[str, float]:
        send = getattr(self._subject, f"send_in_{way}")
        before, began = time.process_time(), time.perf_counter()
        sent = send(job, range(count))
        if self._is_async:
            await sent
        return _spent(before, began)

    async def one_at_a_time(self, count: int) -> list[Trip]:
        """For each: its number, when it was sent, and when its result was there."""
        trips = []
        for number in range(count):
            began = time.monotonic()
            sent = self._subject.send("nothing", number)
            if self._is_async:
                await self._subject.result(await sent)
            else:
                self._subject.result(sent)
            trips.append((number, began, time.monotonic()))
        return trips

    async def at_rate(self, count: int, rate: float) -> list[Trip]:
        """The same, sent when they are due, however late those before are."""
        chance = random.Random(0)
        due, times = time.monotonic() + 0.1, []
        for _ in range(count):
            due += chance.expovariate(rate)
            times.append(due)
        if self._is_async:
            return await asyncio.gather(*(self._trip(*each) for each in enumerate(times)))
        return list(self._threads.map(self._trip_in_thread, range(count), times))

    async def _trip(self, number: int, due: float) -> Trip:
        async with self._places:
            await asyncio.sleep(due - time.monotonic())
            await self._subject.result(await self._subject.send("nothing", number))
            return number, due, time.monotonic()

    def _trip_in_thread(self, number: int, due: float) -> Trip:
        time.sleep(max(0, due - time.monotonic()))
        self._subject.result(self._subject.send("nothing", number))
        return number, due, time.monotonic()


def _spent(cpu: float, began: float) -> dict[str, float]:
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}


def main() -> None:
    with os.fdopen(os.dup(1), "w") as answers, asyncio.Runner() as runner:
        # What a library prints is no answer.
        os.dup2(2, 1)
        driver = Driver(import_module(sys.argv[1]))
        for line in sys.stdin:
            command, options = json.loads(line)
            answer = runner.run(getattr(driver, command)(**options))
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
