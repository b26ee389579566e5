"""What is asked of a running worker is answered, and what it is told is done."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import TaskRevokedError
from live_service import (
    CELERY,
    ONE_WORKER,
    TIMEOUT,
    WORKER,
    Service,
    running_service,
    wait_until,
)

from {{ cookiecutter.__package_slug }}.queues import Queue

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With a worker that runs one task at a time and has answered."""
    with running_service(tmp_path_factory.mktemp("service")) as service, service.worker():
        service.value(service.send("hello.greet", "Ada"))
        yield service


def test_status_names_the_workers(service: Service) -> None:
    status = service.celery("status", *ONE_WORKER)

    assert WORKER in status
    assert "1 node online" in status


def test_inspect_shows_what_the_worker_knows_and_does(service: Service, tmp_path: Path) -> None:
    with service.busy(tmp_path):
        topics = ("registered", "active", "stats", "active_queues", "ping")
        answers = {topic: service.ask("inspect", topic)[WORKER] for topic in topics}

    assert {"hello.greet", "probe.hang"} <= set(answers["registered"])
    assert [task["name"] for task in answers["active"]] == ["probe.hang"]
    assert "pool" in answers["stats"]
    assert {queue["name"] for queue in answers["active_queues"]} == set(Queue)
    assert answers["ping"] == {"ok": "pong"}


@pytest.mark.parametrize("topic", ["scheduled", "reserved", "revoked", "clock", "conf", "report"])
def test_inspect_answers_every_other_question(service: Service, topic: str) -> None:
    assert WORKER in service.ask("inspect", topic)


def test_a_waiting_task_that_is_revoked_does_not_run(service: Service, tmp_path: Path) -> None:
    with service.busy(tmp_path):
        result = service.send("probe.write", str(tmp_path / "lines"), "revoked")
        service.ask("control", "revoke", result.id)

    with pytest.raises(TaskRevokedError):
        service.value(result)
    assert not (tmp_path / "lines").exists()


def test_a_rate_limit_holds_a_task_back(service: Service) -> None:
    answer: Any = service.ask("control", "rate_limit", "probe.tell_time", "1/s")
    sent = time.monotonic()
    results = [service.send("probe.tell_time") for _ in range(2)]
    last = max(service.value(result) for result in results)

    assert answer == [{WORKER: {"ok": "new rate limit set successfully"}}]
    # Not counted from the first one, which may start long after it was let through.
    assert last - sent >= 1


def test_events_are_told_to_whoever_listens(service: Service, tmp_path: Path) -> None:
    service.ask("control", "enable_events")
    heard = tmp_path / "heard"
    listener = subprocess.Popen(
        [*CELERY, "events", "--dump"],
        cwd=service.folder,
        env=service.environment | {"PYTHONUNBUFFERED": "1"},
        stdout=heard.open("wb"),
    )
    try:
        # A worker that waits for its events to be heard would get stuck on the way.
        results = [service.send("hello.greet", "Ada") for _ in range(100)]
        assert [service.value(result) for result in results] == ["Hello, Ada!"] * 100
        wait_until(lambda: _is_heard(service, heard), "an event")
    finally:
        listener.terminate()
        listener.wait(TIMEOUT)


def _is_heard(service: Service, heard: Path) -> bool:
    service.value(service.send("hello.greet", "Ada"))
    return "task succeeded" in heard.read_text()


def test_a_worker_leaves_a_queue_and_comes_back_to_it(service: Service) -> None:
    def served() -> set[str]:
        return {queue["name"] for queue in service.ask("inspect", "active_queues")[WORKER]}

    service.ask("control", "cancel_consumer", Queue.IO)
    wait_until(lambda: served() == set(Queue) - {Queue.IO}, "the worker to leave the queue")
    service.ask("control", "add_consumer", Queue.IO)

    assert service.value(service.send("probe.tell_time", queue=Queue.IO)) < time.monotonic()
