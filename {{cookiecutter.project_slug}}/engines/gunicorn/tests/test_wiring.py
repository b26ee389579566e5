"""What a new task is easily left without: a queue, limits, words, a schedule that fits."""

import inspect
import sys
from datetime import timedelta
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from {{ cookiecutter.__package_slug }} import jobs
from {{ cookiecutter.__package_slug }} import tasks as package
from {{ cookiecutter.__package_slug }}.dirty.jobs import queue_of, tasks
from {{ cookiecutter.__package_slug }}.dirty.scheduler import Scheduled
from {{ cookiecutter.__package_slug }}.dirty.server import APPS
from {{ cookiecutter.__package_slug }}.dirty.task import Task
from {{ cookiecutter.__package_slug }}.queues import PROCESSES, ROUTES, Queue
from {{ cookiecutter.__package_slug }}.schedule import SCHEDULE

# A Sunday at the end of a month, so that nothing comes twice within a day by chance.
NOW = 1_775_000_000.0
TASKS = tasks()


@pytest.fixture(params=sorted(TASKS))
def task(request: pytest.FixtureRequest) -> Task[..., Any]:
    return TASKS[request.param]


@pytest.fixture(params=sorted(SCHEDULE))
def scheduled(request: pytest.FixtureRequest) -> Scheduled:
    return SCHEDULE[request.param]


def test_every_module_in_tasks_holds_a_task() -> None:
    paths = Path(package.__path__[0]).glob("*.py")
    modules = {f"{package.__name__}.{path.stem}" for path in paths if path.stem != "__init__"}

    assert {task.run.__module__ for task in TASKS.values()} == modules


def test_every_module_in_tasks_serves_the_jobs_of_its_name() -> None:
    jobs_of = {path.stem for path in Path(jobs.__path__[0]).glob("*.py")}
    tasks_of = {path.stem for path in Path(package.__path__[0]).glob("*.py")}

    assert jobs_of == tasks_of


def test_task_is_named_after_its_module_and_function(task: Task[..., Any]) -> None:
    assert task.name == f"{task.run.__module__.rpartition('.')[2]}.{task.run.__name__}"


def test_task_is_routed_to_a_queue_that_processes_serve(task: Task[..., Any]) -> None:
    assert any(fnmatch(task.name, pattern) for pattern in ROUTES)
    assert PROCESSES[queue_of(task.name)] > 0


def test_every_queue_has_an_app_and_processes() -> None:
    assert APPS.keys() == PROCESSES.keys() == set(Queue)


def test_routes_lead_from_tasks_that_exist() -> None:
    dead = [route for route in ROUTES if not any(fnmatch(name, route) for name in TASKS)]

    assert dead == []


def test_task_ends_in_time(task: Task[..., Any]) -> None:
    assert task.soft_time_limit
    assert task.time_limit
    assert task.soft_time_limit < task.time_limit


def test_task_says_what_it_does(task: Task[..., Any]) -> None:
    assert inspect.getdoc(task.run)


def test_task_retries_named_errors_for_a_limited_time(task: Task[..., Any]) -> None:
    assert Exception not in task.autoretry_for
    if task.autoretry_for:
        assert task.retry_backoff
        assert 0 < task.max_retries < 20


def test_scheduled_name_is_a_task_that_takes_the_arguments(scheduled: Scheduled) -> None:
    inspect.signature(TASKS[scheduled.task].run).bind(**scheduled.arguments)


def test_scheduled_task_expires_before_it_comes_again(scheduled: Scheduled) -> None:
    last = scheduled.latest(NOW)
    before = scheduled.latest(last - 1)

    assert timedelta(seconds=scheduled.expires) < timedelta(seconds=last - before)


def test_jobs_know_no_task_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("{{ cookiecutter.__package_slug }}")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "{{ cookiecutter.__package_slug }}.dirty", None)

    for path in Path(jobs.__path__[0]).glob("*.py"):
        import_module(f"{jobs.__name__}.{path.stem}")
