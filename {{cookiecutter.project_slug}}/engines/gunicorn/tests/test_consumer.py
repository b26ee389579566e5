"""Each job is seen to its end: it succeeds, is tried again, or is kept as a dead letter."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from {{ cookiecutter.__package_slug }}.dirty.jobs import JobFailed, JobResult, board, queue_of, tasks
from {{ cookiecutter.__package_slug }}.dirty.task import Task, shared_task
from {{ cookiecutter.__package_slug }}.queues import PROCESSES
from {{ cookiecutter.__package_slug }}.tasks.hello import greet

# As it is without the fixture that leaves it out.
pause = Task.pause

pytestmark = pytest.mark.usefixtures("worker", "no_pause")


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes `hello.greet` another task."""

    def change(run: Callable[..., Any], **changed: Any) -> None:
        monkeypatch.setitem(tasks(), greet.name, replace(greet, run=run, **changed))

    return change


def reason(result: JobResult) -> str:
    with pytest.raises(JobFailed) as failure:
        result.get(timeout=10, interval=0.01)
    return str(failure.value)


def test_a_job_that_fails_is_a_dead_letter(declare: Callable[..., None]) -> None:
    def fail(name: str) -> None:
        raise KeyError(name)

    declare(fail)
    result = greet.delay("Ada")

    assert "KeyError" in reason(result)
    assert result.id in [row["id"] for row in board().dead()]


def test_a_job_is_tried_again_for_the_errors_that_its_task_names(
    declare: Callable[..., None],
) -> None:
    tries: list[str] = []

    def fail_twice(name: str) -> int:
        tries.append(name)
        if len(tries) < 3:
            raise ConnectionError("away")
        return len(tries)

    declare(fail_twice, autoretry_for=(ConnectionError,))

    assert greet.delay("Ada").get(timeout=10, interval=0.01) == 3


def test_a_job_is_tried_as_often_as_its_task_says(declare: Callable[..., None]) -> None:
    tries: list[str] = []

    def fail(name: str) -> None:
        tries.append(name)
        raise ConnectionError("away")

    declare(fail, autoretry_for=(ConnectionError,), max_retries=2)

    assert "ConnectionError" in reason(greet.delay("Ada"))
    assert len(tries) == 3


@pytest.mark.parametrize("result", [object(), float("nan")])
def test_a_result_that_json_cannot_hold_is_a_failure(
    declare: Callable[..., None], result: object
) -> None:
    declare(lambda name: result)

    assert "JSON" in reason(greet.delay("Ada"))


def test_a_job_that_ends_its_thread_is_a_failure_and_not_the_end_of_it(
    declare: Callable[..., None],
) -> None:
    def leave(name: str) -> None:
        raise SystemExit(name)

    declare(leave)
    assert "SystemExit" in reason(greet.delay("Ada"))

    declare(lambda name: name)
    assert greet.delay("Ada").get(timeout=10, interval=0.01) == "Ada"


def test_a_task_that_is_gone_is_a_dead_letter() -> None:
    result = JobResult(board().submit("gone.away", {}, "default", 100))

    assert "NoSuchTask" in reason(result)


@pytest.mark.parametrize(
    ("retries", "longest"), [(0, 1), (3, 8), (100, 60)], ids=["first", "later", "at most"]
)
def test_pauses_grow_up_to_the_longest(retries: int, longest: float) -> None:
    task: Task[..., Any] = replace(greet, retry_backoff=True, retry_backoff_max=60)
    pauses = [pause(task, retries) for _ in range(100)]

    assert all(0 <= pause <= longest for pause in pauses)


def test_a_job_over_its_rate_waits_while_others_run(declare: Callable[..., None]) -> None:
    begun: list[float] = []

    def note(name: str) -> None:
        begun.append(time.monotonic())

    # A limit is for each process; here all are threads of one, with a limit each.
    declare(note, rate_limit="1/s")
    count = PROCESSES[queue_of(greet.name)] + 1
    began = time.monotonic()
    results = [greet.delay("Ada") for _ in range(count)]
    for result in results:
        result.get(timeout=10)

    # The first ones may be let through long before they can write that down.
    assert max(begun) - began > 0.9


@pytest.mark.parametrize("rate", ["0/s", "ten/m", "1/day"])
def test_a_rate_that_says_nothing_is_refused_when_it_is_declared(rate: str) -> None:
    with pytest.raises(ValueError, match=f"rate_limit='{rate}' of trial.rate"):
        shared_task(name="trial.rate", rate_limit=rate)(len)
