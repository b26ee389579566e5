"""What the jobs do, the same in each candidate, and how the benchmark sees that they ran."""

import asyncio
import os
import struct
import time
from functools import cache

# Seconds that a waiting job waits.
WAIT = 0.05
# About five milliseconds on a processor of today.
TURNS = 100_000
# Number of the job, and when.
MARK = struct.Struct("<qd")


@cache
def _marks() -> int:
    return os.open(os.environ["BENCHMARK_MARKS"], os.O_WRONLY | os.O_APPEND)


def nothing(number: int) -> None:
    # A line in a file costs a microsecond, and each candidate the same. A command to Redis would
    # cost more than some candidates do.
    os.write(_marks(), MARK.pack(number, time.monotonic()))


def wait(number: int) -> None:
    time.sleep(WAIT)
    nothing(number)


async def wait_async(number: int) -> None:
    await asyncio.sleep(WAIT)
    nothing(number)


def compute(number: int) -> None:
    sum(turn * turn for turn in range(TURNS))
    nothing(number)


async def fetch(number: int) -> None:
    """Ask a server that takes its time."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(os.environ["BENCHMARK_SERVER"]))
    await reader.read()
    writer.close()
    await writer.wait_closed()
    nothing(number)


async def nothing_async(number: int) -> None:
    nothing(number)


async def compute_async(number: int) -> None:
    compute(number)


SYNC = {"nothing": nothing, "wait": wait, "compute": compute}
ASYNC = {"nothing": nothing_async, "wait": wait_async, "compute": compute_async}
