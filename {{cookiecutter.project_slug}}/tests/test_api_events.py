"""A job as it happens: watchers of the API see each step, and its end."""

import json
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
from api_service import is_watched, retry, serving

from {{ cookiecutter.__package_slug }}.jobs import Progress, hello
from {{ cookiecutter.__package_slug }}.progress import publish

pytestmark = pytest.mark.usefixtures("worker")


@dataclass
class Steps:
    """A job that takes each step when it is told to."""

    total: int
    taken: int = 0
    may_step: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __call__(self, name: str) -> Generator[Progress, None, str]:
        while self.taken < self.total:
            assert self.may_step.acquire(timeout=10)
            self.taken += 1
            yield Progress(self.taken, self.total, name)
        return "done"


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Any]], None]:
    """Makes `hello.greet` do another job."""
    return lambda job: monkeypatch.setattr(hello, "greet", lambda name: publish(job(name)))


def submitted(api: httpx2.Client) -> str:
    return str(api.post("/api/hello/greet", json={"name": "Ada"}).json()["links"]["events"])


@contextmanager
def watching(
    api: httpx2.Client, path: str, **headers: str
) -> Iterator[Iterator[tuple[str, str, Any]]]:
    with api.stream("GET", path, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield events(answer)


def events(answer: httpx2.Response) -> Iterator[tuple[str, str, Any]]:
    found: dict[str, str] = {}
    for line in answer.iter_lines():
        name, _, value = line.partition(": ")
        if line:
            found[name] = value
        elif "event" in found:
            yield found["event"], found.get("id", ""), json.loads(found["data"])
            found = {}


def test_a_watcher_sees_a_snapshot_each_step_and_the_result(
    api: httpx2.Client, use: Callable[[Steps], None]
) -> None:
    use(job := Steps(3))
    with watching(api, submitted(api)) as seen:
        first = next(seen)
        for _ in range(3):
            job.may_step.release()
        rest = [event for event in seen if event[0] != "state"]

    assert (first[0], first[2]["task"]) == ("snapshot", "hello.greet")
    assert [(event, key) for event, key, _ in rest] == [
        *(("progress", str(done)) for done in (1, 2, 3)),
        ("done", "3"),
    ]
    assert rest[0][2] == {"done": 1, "total": 3, "note": "Ada"}
    assert rest[-1][2]["result"] == "done"


def test_of_steps_too_fast_to_be_told_one_by_one_none_is_missed(
    api: httpx2.Client, use: Callable[[Steps], None]
) -> None:
    use(job := Steps(40))
    with watching(api, submitted(api)) as seen:
        next(seen)
        job.may_step.release(40)
        told = [key for event, key, _ in seen if event == "progress"]

    assert told == [str(done) for done in range(1, 41)]


def test_who_comes_back_gets_what_came_meanwhile(
    api: httpx2.Client, use: Callable[[Steps], None]
) -> None:
    use(job := Steps(4))
    path = submitted(api)
    with watching(api, path) as seen:
        next(seen)
        job.may_step.release(3)
        last = next(key for event, key, _ in seen if event == "progress")
        assert any(key == "3" for event, key, _ in seen if event == "progress")
    with watching(api, path, **{"Last-Event-ID": last}) as seen:
        again = [next(seen)[:2] for _ in range(3)]
        job.may_step.release()
        assert list(seen)[-1][0] == "done"

    assert again == [("snapshot", "1"), ("progress", "2"), ("progress", "3")]


def test_a_job_that_is_tried_again_begins_with_its_first_step_again(
    api: httpx2.Client, use: Callable[[Callable[..., Any]], None]
) -> None:
    may_begin = threading.Event()
    runs: list[str] = []

    def fail_and_begin_again(name: str) -> Generator[Progress, None, str]:
        assert may_begin.wait(10)
        runs.append(name)
        if len(runs) == 1:
            yield Progress(1, 2, name)
            yield Progress(2, 2, name)
            retry()
        yield Progress(1, 2, f"run {len(runs)}")
        return "done"

    use(fail_and_begin_again)
    with watching(api, submitted(api)) as seen:
        next(seen)
        may_begin.set()
        notes = [job["note"] for event, _, job in seen if event == "progress"]

    assert notes[-1] == "run 2"


def test_a_job_that_has_ended_is_told_at_once(api: httpx2.Client) -> None:
    path = submitted(api)
    with watching(api, path) as seen:
        list(seen)

    with watching(api, path) as seen:
        assert [event for event, *_ in seen] == ["snapshot", "done"]


def test_a_failure_ends_the_stream_with_its_reason(
    api: httpx2.Client, use: Callable[[Callable[..., Any]], None]
) -> None:
    def fail(name: str) -> Generator[Progress, None, str]:
        yield Progress(1, 2, name)
        raise KeyError(name)

    use(fail)
    with watching(api, submitted(api)) as seen:
        *_, (event, _, job) = seen

    assert (event, job["error"]) == ("failed", {"type": "KeyError", "message": "Ada"})


def test_many_watch_one_job(api: httpx2.Client, use: Callable[[Steps], None]) -> None:
    use(job := Steps(2))
    path = submitted(api)
    told: list[list[str]] = []

    def watch(is_there: threading.Event) -> None:
        with watching(api, path) as seen:
            next(seen)
            is_there.set()
            told.append([event for event, *_ in seen if event != "state"])

    there = [threading.Event() for _ in range(10)]
    watchers = [threading.Thread(target=watch, args=(event,)) for event in there]
    for watcher in watchers:
        watcher.start()
    assert all(event.wait(10) for event in there)
    job.may_step.release(2)
    for watcher in watchers:
        watcher.join(10)

    assert told == [["progress", "progress", "done"]] * 10


def test_who_leaves_early_leaves_nothing_behind(
    api: httpx2.Client, use: Callable[[Steps], None]
) -> None:
    use(job := Steps(1))
    with watching(api, submitted(api)) as seen:
        next(seen)
    deadline = time.monotonic() + 10
    while is_watched():
        assert time.monotonic() < deadline, "somebody still watches"
        time.sleep(0.01)
    job.may_step.release()


def test_the_end_of_the_service_ends_the_stream(use: Callable[[Steps], None]) -> None:
    use(job := Steps(1))
    seen: list[Any] = []
    is_there = threading.Event()

    def watch(api: httpx2.Client, path: str) -> None:
        # Its own, which the end of the service does not close.
        client = httpx2.Client(base_url=api.base_url, headers=api.headers)
        with client, watching(client, path) as stream:
            seen.append(next(stream))
            is_there.set()
            seen.extend(event for event in stream if event[0] != "state")
            seen.append("end")

    with serving() as api:
        watcher = threading.Thread(target=watch, args=(api, submitted(api)))
        watcher.start()
        assert is_there.wait(10)
    watcher.join(10)
    job.may_step.release()

    assert [seen[0][0], *seen[1:]] == ["snapshot", "end"]
