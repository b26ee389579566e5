"""Coroutines run on one loop, which every thread of the process shares and nothing blocks."""

import asyncio
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import FrameType

import pytest

from {{ cookiecutter.__package_slug }} import run_async as module
from {{ cookiecutter.__package_slug }}.run_async import run_async

AT_ONCE = 8


class Interrupted(Exception):
    """What a signal raises, as the time limit of a task does."""


async def running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(AT_ONCE) as executor:
        yield executor


@pytest.fixture
def _new_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if no coroutine had run yet."""
    monkeypatch.setattr(module, "_thread", None)
    interval = sys.getswitchinterval()
    # Threads take turns after a microsecond, so that they meet where they must not.
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)
    if thread := module._thread:
        thread.loop.call_soon_threadsafe(thread.loop.stop)
        thread.join(10)
        thread.loop.close()


@pytest.fixture
def interruptions() -> Iterator[list[str]]:
    """Not empty once a signal has come that found this thread waiting."""
    # No event: the next signal may come while it is set, and would wait for its lock for ever.
    interruptions: list[str] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        while frame and frame.f_code is not Future.result.__code__:
            frame = frame.f_back
        if frame and not interruptions:
            interruptions.append(frame.f_code.co_name)
            raise Interrupted

    handler = signal.signal(signal.SIGUSR1, interrupt)
    yield interruptions
    signal.signal(signal.SIGUSR1, handler)


def test_a_result_and_an_error_reach_the_caller() -> None:
    async def divide(number: int, by: int) -> float:
        return number / by

    assert run_async(divide(6, 3)) == 2
    with pytest.raises(ZeroDivisionError):
        run_async(divide(6, 0))


def test_one_coroutine_finds_the_loop_of_the_one_before() -> None:
    first, second = run_async(running_loop()), run_async(running_loop())

    assert first is second
    assert not first.is_closed()


@pytest.mark.usefixtures("_new_process")
def test_threads_that_come_first_at_the_same_time_share_one_loop(
    threads: ThreadPoolExecutor,
) -> None:
    start = threading.Barrier(AT_ONCE)

    def run(_: int) -> asyncio.AbstractEventLoop:
        start.wait(10)
        return run_async(running_loop())

    assert len(set(threads.map(run, range(AT_ONCE), timeout=10))) == 1


def test_coroutines_of_many_threads_run_at_the_same_time(threads: ThreadPoolExecutor) -> None:
    arrived: list[asyncio.Future[None]] = []

    async def wait_for_all() -> int:
        arrived.append(asyncio.get_running_loop().create_future())
        if len(arrived) == AT_ONCE:
            for one in arrived:
                one.set_result(None)
        await asyncio.wait_for(arrived[-1], 10)
        return len(arrived)

    results = threads.map(lambda _: run_async(wait_for_all()), range(AT_ONCE), timeout=20)

    assert list(results) == [AT_ONCE] * AT_ONCE


def test_a_coroutine_that_runs_another_is_told_to_await_it() -> None:
    async def run_another() -> None:
        run_async(running_loop())

    with pytest.raises(RuntimeError, match="await it instead"):
        run_async(run_another())


def test_a_thread_that_a_coroutine_waits_for_may_run_another() -> None:
    async def run_in_thread() -> asyncio.AbstractEventLoop:
        return await asyncio.to_thread(lambda: run_async(running_loop()))

    assert run_async(run_in_thread()) is run_async(running_loop())


def test_a_coroutine_ends_when_the_wait_for_it_is_interrupted(
    interruptions: list[str],
) -> None:
    ended = threading.Event()
    main_thread = threading.get_ident()

    async def run_for_long() -> None:
        try:
            while not interruptions:
                signal.pthread_kill(main_thread, signal.SIGUSR1)
                await asyncio.sleep(0.001)
            await asyncio.sleep(60)
        finally:
            ended.set()

    with pytest.raises(Interrupted):
        run_async(run_for_long())

    assert ended.wait(10)


def test_a_forked_child_has_a_loop_of_its_own() -> None:
    program = f"""
import asyncio, os, signal
from {run_async.__module__} import run_async

async def running_loop():
    return asyncio.get_running_loop()

loop = run_async(running_loop())
child = os.fork()
# A child that waits for the thread it does not have would wait for ever.
signal.alarm(10)
is_new = run_async(running_loop()) is not loop
if child == 0:
    os._exit(0 if is_new else 1)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
raise SystemExit(status or is_new)
"""

    assert subprocess.run([sys.executable, "-c", program], timeout=20).returncode == 0
