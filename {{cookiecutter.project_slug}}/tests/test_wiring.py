"""Every name leads to a task, and every task is complete: what is forgotten is told here."""

import inspect
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatch
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from celery.schedules import maybe_schedule

from {{ cookiecutter.__package_slug }} import jobs, tasks
from {{ cookiecutter.__package_slug }}.celery import app
from {{ cookiecutter.__package_slug }}.queues import ROUTES
from {{ cookiecutter.__package_slug }}.schedule import SCHEDULE
from {{ cookiecutter.__package_slug }}.settings import settings
from {{ cookiecutter.__package_slug }}.tasks import hello

app.loader.import_default_modules()
APPLICATION = "{{ cookiecutter.__package_slug }}.celery"
TASKS = {name: task for name, task in app.tasks.items() if not name.startswith("celery.")}


@pytest.fixture(params=sorted(TASKS))
def task(request: pytest.FixtureRequest) -> Any:
    return TASKS[request.param]


@pytest.fixture(params=sorted(SCHEDULE))
def entry(request: pytest.FixtureRequest) -> dict[str, Any]:
    return SCHEDULE[request.param]


def test_every_module_in_tasks_is_discovered_and_holds_a_task() -> None:
    paths = Path(tasks.__path__[0]).glob("*.py")
    modules = {f"{tasks.__name__}.{path.stem}" for path in paths if path.stem != "__init__"}

    assert {task.__module__ for task in TASKS.values()} == modules


def test_every_module_in_tasks_serves_the_jobs_of_its_name() -> None:
    jobs_of = {path.stem for path in Path(jobs.__path__[0]).glob("*.py")}
    tasks_of = {path.stem for path in Path(tasks.__path__[0]).glob("*.py")}

    assert jobs_of <= tasks_of


def test_task_is_named_after_its_module_and_function(task: Any) -> None:
    module = task.__module__.rpartition(".")[2]

    assert task.name == f"{module}.{task.__name__}"


def test_task_is_routed_to_a_queue_that_workers_serve(task: Any) -> None:
    assert any(fnmatch(task.name, pattern) for pattern in ROUTES)
    assert app.amqp.router.route({}, task.name)["queue"].name in app.amqp.queues.consume_from


def test_routes_lead_from_tasks_that_exist() -> None:
    dead = [route for route in ROUTES if not any(fnmatch(name, route) for name in TASKS)]

    assert dead == []


def test_task_ends_in_time(task: Any) -> None:
    assert task.soft_time_limit < task.time_limit < settings.visibility_timeout


def test_task_says_what_it_does(task: Any) -> None:
    assert inspect.getdoc(task.run)


def test_task_retries_named_errors_for_a_limited_time(task: Any) -> None:
    retried = getattr(task, "autoretry_for", ())

    assert Exception not in retried
    if retried:
        assert task.retry_backoff
        assert 0 < task.max_retries < 20


def test_scheduled_name_is_a_task_that_takes_the_arguments(entry: dict[str, Any]) -> None:
    signature = inspect.signature(TASKS[entry["task"]].run)

    signature.bind(*entry.get("args", ()), **entry.get("kwargs", {}))


def test_scheduled_task_expires_before_it_comes_again(entry: dict[str, Any]) -> None:
    schedule = copy(maybe_schedule(entry["schedule"]))

    assert timedelta(seconds=entry["options"]["expires"]) < interval(schedule)


def interval(schedule: Any) -> timedelta:
    """The shortest time between two of the next dates."""
    if hasattr(schedule, "seconds"):
        return timedelta(seconds=schedule.seconds)
    times = [datetime(2026, 1, 1, tzinfo=UTC)]
    for _ in range(50):
        schedule.nowfun = lambda: times[-1]
        times.append(times[-1] + schedule.remaining_estimate(times[-1]))
    return min(later - earlier for earlier, later in pairwise(times[1:]))


def test_jobs_know_no_task_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch, "{{ cookiecutter.__package_slug }}")
    monkeypatch.setitem(sys.modules, "celery", None)

    for path in Path(jobs.__path__[0]).glob("*.py"):
        import_module(f"{jobs.__name__}.{path.stem}")


def test_a_task_that_is_imported_alone_belongs_to_this_service(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(lambda: hello.greet.app).result() is app

    forget(monkeypatch, tasks.__name__)
    monkeypatch.setitem(sys.modules, APPLICATION, None)
    with pytest.raises(ModuleNotFoundError, match=APPLICATION):
        import_module(hello.__name__)


def forget(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Until the end of the test its modules are imported anew."""
    for name in [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, name)


def test_only_json_is_accepted() -> None:
    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == app.conf.result_serializer == "json"
