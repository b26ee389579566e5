"""The prefork pool: limits interrupt and kill a task, and what a process held runs again."""

import gc
import itertools
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery.concurrency.asynpool import AsynPool
from celery.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded
from celery.signals import worker_before_create_process
from celery.worker import state
from kombu.asynchronous import Hub
from kombu.asynchronous.timer import Timer
from live_service import Service, running_service, wait_until

from {{ cookiecutter.__package_slug }} import health, prefork_pool
from {{ cookiecutter.__package_slug }}.celery import app
from {{ cookiecutter.__package_slug }}.consumer import Consumer

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
MOST_TASKS = 3


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With a worker that runs one task at a time."""
    folder = tmp_path_factory.mktemp("service")
    option = f"--max-tasks-per-child={MOST_TASKS}"
    with running_service(folder) as service, service.worker(option):
        yield service


def test_a_task_is_interrupted_at_its_soft_time_limit(service: Service, tmp_path: Path) -> None:
    # It comes to nobody if the process has not begun with the task by then.
    hanging = service.hang(tmp_path / "hanging", soft_time_limit=3)

    with pytest.raises(SoftTimeLimitExceeded):
        service.value(hanging.result)
    assert service.dead_letter()["id"] == hanging.result.id


def test_a_task_is_ended_at_its_time_limit(service: Service, tmp_path: Path) -> None:
    hanging = service.hang(tmp_path / "hanging", time_limit=0.2)

    with pytest.raises(TimeLimitExceeded):
        service.value(hanging.result)
    letter = service.dead_letter()
    assert (letter["id"], letter["error"]) == (hanging.result.id, "TimeLimitExceeded(0.2)")
    assert service.value(service.send("hello.greet", "Ada")) == "Hello, Ada!"


def test_a_process_is_replaced_after_as_many_tasks_as_it_may_run(
    service: Service, tmp_path: Path
) -> None:
    processes = []
    for run in range(MOST_TASKS + 1):
        task = service.hang(tmp_path / str(run))
        task.end()
        processes.append(task.wait_for_run())
        service.value(task.result)

    assert len(set(processes)) > 1


def test_a_task_whose_process_is_killed_runs_again(service: Service, tmp_path: Path) -> None:
    hanging = service.hang(tmp_path / "hanging")
    os.kill(hanging.wait_for_run(), signal.SIGKILL)

    hanging.wait_for_run(2)
    hanging.end()
    assert service.value(hanging.result) is None


def test_what_a_worker_has_loaded_is_set_aside_before_the_first_process_only() -> None:
    prefork_pool.connect()
    try:
        worker_before_create_process.send(sender=None)
        set_aside = gc.get_freeze_count()
        came_later = [[number] for number in range(10_000)]
        worker_before_create_process.send(sender=None)
        assert 0 < gc.get_freeze_count() <= set_aside
        assert len(came_later) == 10_000
    finally:
        gc.unfreeze()


def test_a_worker_does_not_hold_the_time_limits_of_tasks_that_have_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "sign", lambda _: None)
    timer: Any = Timer()
    worker = SimpleNamespace(use_eventloop=True)
    with closing(Hub(timer)) as hub:
        Consumer(print, app=app, timer=timer, hub=hub, controller=worker)
    every_now_and_then = [event.entry for event in timer._queue]
    # As the worker's loop, which begins once.
    schedule = iter(timer)
    assert next(schedule)[1] is None
    fired: list[object] = []
    for number in range(3 * prefork_pool.FEW):
        limit = timer.call_at(-number, fired.append, (number,))
        if number not in (100, 200, 300):
            limit.cancel()

    for entry in every_now_and_then:
        entry()

    assert len(timer) < prefork_pool.FEW
    timer.call_at(0, fired.append, ("later",))
    for _, entry in itertools.takewhile(lambda due: due[1], schedule):
        entry()
    assert fired == [300, 200, 100, "later"]


def test_a_worker_that_stops_does_not_forget_what_a_process_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(state, "should_stop", 0)
    stopping: Any = Consumer.__new__(Consumer)
    stopping.controller = stopping.timer = None
    stopping.task_buckets = {}
    hub: Any = Hub()
    pool: Any = AsynPool(1, threads=False)
    try:
        pool.register_with_event_loop(hub)
        task = pool.apply_async(os.getpid)
        wait_until(lambda: hub.run_once() or task._write_to, "the process to be given it")
        assert not task._accepted
        stopping.pool = SimpleNamespace(_pool=pool, flush=pool.flush)
        stopping.on_close()
        wait_until(lambda: task.ready() or hub.run_once(), "the result")
    finally:
        pool.close()
        pool.join()
        hub.close()
