"""A real worker on a real broker keeps what is promised of every task."""

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from celery import chain, group
from celery.exceptions import QueueNotFound
from live_service import Service, running_service, wait_until

from {{ cookiecutter.__package_slug }}.queues import Queue

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With a worker that runs one task at a time and has finished one."""
    with running_service(tmp_path_factory.mktemp("service")) as service, service.worker():
        service.value(service.send("hello.greet", "Ada"))
        yield service


@pytest.fixture
def lines(tmp_path: Path) -> Callable[[], list[str]]:
    """What tasks have written into the file `lines`, in that order."""
    file = tmp_path / "lines"
    return lambda: file.read_text().splitlines() if file.exists() else []


def test_a_task_runs_and_returns_its_result(service: Service) -> None:
    assert service.value(service.send("hello.greet", "Ada")) == "Hello, Ada!"


def test_each_queue_is_served_and_each_task_runs_once(
    service: Service, tmp_path: Path, lines: Callable[[], list[str]]
) -> None:
    file = str(tmp_path / "lines")
    for result in [service.send("probe.write", file, queue, queue=queue) for queue in Queue]:
        service.value(result)

    assert sorted(lines()) == sorted(Queue)


def test_each_task_of_a_batch_runs(service: Service) -> None:
    names = [f"Ada {number}" for number in range(20)]
    with service.batch():
        results = [service.send("hello.greet", name) for name in names]

    assert [service.value(result) for result in results] == [f"Hello, {name}!" for name in names]


def test_a_task_for_a_queue_that_nobody_serves_is_not_accepted(service: Service) -> None:
    with pytest.raises(QueueNotFound):
        service.send("hello.greet", "Ada", queue="typo")


def test_a_task_that_fails_is_tried_again(service: Service, tmp_path: Path) -> None:
    assert service.value(service.send("probe.fail_once", str(tmp_path / "mark"))) == "done"


def test_a_countdown_delays_a_task(service: Service) -> None:
    sent = time.monotonic()
    service.value(service.send("hello.greet", "Ada", countdown=1.5))

    assert time.monotonic() - sent >= 1


def test_a_task_that_waited_too_long_does_not_run(
    service: Service, tmp_path: Path, lines: Callable[[], list[str]]
) -> None:
    expires = datetime.now(UTC) + timedelta(seconds=0.1)
    with service.busy(tmp_path):
        service.send("probe.write", str(tmp_path / "lines"), "late", expires=expires)
        wait_until(lambda: datetime.now(UTC) > expires, "the task to expire")

    assert service.value(service.send("hello.greet", "Ada")) == "Hello, Ada!"
    assert lines() == []


def test_a_chain_hands_each_result_to_the_next_task(service: Service) -> None:
    greet = service.sender.signature("hello.greet")
    steps = chain(greet.clone(("Ada",)), greet.clone(), app=service.sender)

    assert service.value(steps.apply_async()) == "Hello, Hello, Ada!!"


def test_a_group_runs_each_of_its_tasks(service: Service) -> None:
    greet = service.sender.signature("hello.greet")
    greetings = group((greet.clone((name,)) for name in ("Ada", "Grace")), app=service.sender)

    results: Any = greetings.apply_async()
    assert [service.value(result) for result in results] == ["Hello, Ada!", "Hello, Grace!"]


class Malicious:
    """Makes a folder wherever it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_a_pickled_message_is_kept_unread(service: Service, tmp_path: Path) -> None:
    trap: Any = Malicious(tmp_path / "unpickled")
    service.send("hello.greet", trap, serializer="pickle")

    assert service.value(service.send("hello.greet", "Ada")) == "Hello, Ada!"
    assert service.dead_letter()["reason"] == "malformed"
    assert not (tmp_path / "unpickled").exists()


def test_a_task_is_called_from_the_command_line(service: Service) -> None:
    task_id = service.celery("call", "hello.greet", "--kwargs", '{"name": "Ada"}').strip()

    assert service.celery("result", task_id).strip() == "Hello, Ada!"


def test_a_report_names_the_version_but_no_password(service: Service) -> None:
    report = service.celery("report")
    password = urlsplit(service.environment["CELERY_BROKER_URL"]).password

    assert f"celery:{version('celery')}" in report
    assert f":{password}@" not in report
