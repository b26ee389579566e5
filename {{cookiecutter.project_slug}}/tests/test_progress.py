"""Progress travels from a job to whoever watches its task, and costs nothing when nobody does."""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from celery.backends.cache import CacheBackend

from {{ cookiecutter.__package_slug }}.jobs import Progress, hello
from {{ cookiecutter.__package_slug }}.progress import publish
from {{ cookiecutter.__package_slug }}.tasks.hello import greet


@dataclass
class Greetings:
    """A job that stops half-way, where its progress can be looked at."""

    total: int = 1
    is_half_way: threading.Event = field(default_factory=threading.Event)
    may_end: threading.Event = field(default_factory=threading.Event)

    def __call__(self, name: str) -> Generator[Progress, None, str]:
        for done in range(1, self.total + 1):
            yield Progress(done, self.total, name)
        self.is_half_way.set()
        assert self.may_end.wait(10)
        return f"{self.total} greetings"

    @contextmanager
    def half_way(self) -> Iterator[Any]:
        """The running task, which ends after the block."""
        result = greet.delay("Ada")
        try:
            assert self.is_half_way.wait(10)
            yield result
        finally:
            self.may_end.set()
        assert result.get(timeout=10, interval=0.01) == f"{self.total} greetings"


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Makes `hello.greet` do another job."""

    def use_job(job: Callable[[str], Generator[Progress, None, object]]) -> None:
        monkeypatch.setattr(hello, "greet", lambda name: publish(job(name)))

    return use_job


@pytest.fixture
def greetings(use: Callable[[Greetings], None]) -> Greetings:
    job = Greetings()
    use(job)
    return job


@pytest.mark.usefixtures("worker")
def test_a_watcher_sees_how_far_a_task_is_and_then_its_result(greetings: Greetings) -> None:
    with greetings.half_way() as result:
        assert result.state == "PROGRESS"
        step = {"done": 1, "total": 1, "note": "Ada"}
        assert result.info == {**step, "steps": [step], "began": result.info["began"]}

    assert (result.state, result.info) == ("SUCCESS", "1 greetings")


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(("seconds", "seen"), [(60, 1), (0, 100)])
def test_of_many_steps_in_a_short_time_only_the_first_is_reported_at_once(
    monkeypatch: pytest.MonkeyPatch, greetings: Greetings, seconds: float, seen: int
) -> None:
    monkeypatch.setattr("{{ cookiecutter.__package_slug }}.progress.PUBLISH_EVERY", seconds)
    greetings.total = 100

    with greetings.half_way() as result:
        assert result.info["done"] == seen


@pytest.mark.usefixtures("worker")
def test_the_others_follow_together_a_moment_later(greetings: Greetings) -> None:
    greetings.total = 100

    with greetings.half_way() as result:
        deadline = time.monotonic() + 10
        while result.info["done"] != 100 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert [step["done"] for step in result.info["steps"]] == list(range(51, 101))


@pytest.mark.usefixtures("worker")
def test_the_last_steps_are_reported_before_the_result(
    monkeypatch: pytest.MonkeyPatch, greetings: Greetings
) -> None:
    monkeypatch.setattr("{{ cookiecutter.__package_slug }}.progress.PUBLISH_EVERY", 60)
    store: Any = CacheBackend.store_result
    stored: list[int] = []

    def record(backend: Any, task_id: str, info: Any, state: str, **options: Any) -> Any:
        if state == "PROGRESS":
            stored.append(info["done"])
        return store(backend, task_id, info, state, **options)

    monkeypatch.setattr(CacheBackend, "store_result", record)
    greetings.total = 3
    with greetings.half_way():
        """It has taken all three."""

    assert stored == [1, 3]


@pytest.mark.usefixtures("worker")
def test_a_job_that_fails_half_way_fails_its_task(
    use: Callable[[Callable[..., Any]], None],
) -> None:
    def fail(name: str) -> Generator[Progress, None, str]:
        yield Progress(1, 2, name)
        raise KeyError(name)

    use(fail)
    result = greet.delay("Ada")

    with pytest.raises(KeyError, match="Ada"):
        result.get(timeout=10, interval=0.01)
    assert result.state == "FAILURE"


def test_a_task_that_is_called_as_a_function_returns_its_result(greetings: Greetings) -> None:
    greetings.may_end.set()

    assert greet("Ada") == "1 greetings"


def test_a_job_runs_without_any_task_queue() -> None:
    greetings = Greetings()
    greetings.may_end.set()

    assert publish(greetings("Ada")) == "1 greetings"
