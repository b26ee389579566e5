"""A real worker process on a real broker keeps what Celery's documentation promises."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import redis
from celery.backends.redis import RedisBackend
from celery.exceptions import (
    QueueNotFound,
    SoftTimeLimitExceeded,
    TaskRevokedError,
    TimeLimitExceeded,
)
from celery.result import AsyncResult
from kombu import Connection

from {{ cookiecutter.__package_slug }}.celery import app
from {{ cookiecutter.__package_slug }}.embedded_broker import EmbeddedBroker, running
from {{ cookiecutter.__package_slug }}.queues import Queue
from {{ cookiecutter.__package_slug }}.settings import Settings

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

PACKAGE = "{{ cookiecutter.__package_slug }}"
PROJECT = Path(__file__).parents[1]
WORKER = "probed@localhost"
# Seconds. A machine that is busy with other things must not fail a test.
TIMEOUT = 60
# Celery would wait as long for more answers than the one there is.
ONE_WORKER = ("--timeout", str(TIMEOUT), "--destination", WORKER)
PROBE = '''
"""Tasks that show what the worker does with them."""

import time
from pathlib import Path

from celery import shared_task


@shared_task(name="probe.write")
def write(file: str, line: str) -> None:
    with Path(file).open("a") as lines:
        lines.write(f"{line}\\n")


@shared_task(name="probe.hang")
def hang(started: str, until: str) -> None:
    Path(started).touch()
    while not Path(until).exists():
        time.sleep(0.01)


@shared_task(name="probe.tell_time")
def tell_time() -> float:
    return time.monotonic()
'''


@dataclass(frozen=True)
class Service:
    """A broker and its worker, which runs one task at a time."""

    broker: EmbeddedBroker
    environment: dict[str, str]
    folder: Path
    connection: Connection
    backend: Any

    def send(self, task: str, *args: str, **options: Any) -> "AsyncResult[Any]":
        """With the application's own routes and queues, which the test process has on memory."""
        producer = app.amqp.Producer(self.connection)
        sent = app.send_task(task, args, producer=producer, **options)
        return AsyncResult(sent.id, backend=self.backend)

    def celery(self, *arguments: str) -> str:
        """What Celery's own command prints."""
        command = [sys.executable, "-m", "celery", "-A", PACKAGE, *arguments]
        ran = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def ask(self, *arguments: str) -> Any:
        """The worker's answer, as soon as it comes."""
        return json.loads(self.celery(*arguments, *ONE_WORKER, "--json"))

    @contextmanager
    def busy(self, folder: Path) -> Iterator[None]:
        """Until the end of the block the worker takes no other task, so they wait in Redis."""
        hang = self.send("probe.hang", str(folder / "started"), str(folder / "until"))
        wait_until((folder / "started").exists, "the worker to be busy")
        yield
        (folder / "until").touch()
        hang.get(timeout=TIMEOUT)


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {TIMEOUT} s for {what}")
        time.sleep(0.01)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    (folder / "probe.py").write_text(PROBE)
    names = os.environ.keys() - {name.upper() for name in Settings.model_fields}
    paths = [str(folder), str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with running(folder / "broker") as broker, Connection(broker.url(0)) as connection:
        environment = {name: os.environ[name] for name in names} | {
            "PYTHONPATH": os.pathsep.join(paths),
            "CELERY_BROKER_URL": broker.url(0),
            "CELERY_RESULT_BACKEND": broker.url(1),
            "WORKER_CONCURRENCY": "1",
        }
        backend: Any = RedisBackend(app=app, url=broker.url(1))
        service = Service(broker, environment, folder, connection, backend)
        with worker(service):
            yield service
        backend.result_consumer.stop()
        backend.client.close()


@contextmanager
def worker(service: Service) -> Iterator[None]:
    command = [sys.executable, "-m", "celery", "-A", PACKAGE, "worker", "-I", "probe", "-n", WORKER]
    process = subprocess.Popen(command, cwd=service.folder, env=service.environment)
    try:
        # The first result shows that it listens, to tasks and to remote control.
        service.send("hello.greet", "Ada").get(timeout=TIMEOUT)
        yield
    finally:
        process.terminate()
        try:
            process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


@pytest.fixture
def lines(tmp_path: Path) -> Callable[[], list[str]]:
    """What tasks have written into the file `lines`, in that order."""
    file = tmp_path / "lines"
    return lambda: file.read_text().splitlines() if file.exists() else []


def test_a_task_runs_and_its_result_is_kept_for_a_day(service: Service) -> None:
    result = service.send("hello.greet", "Ada")

    assert result.get(timeout=TIMEOUT) == "Hello, Ada!"
    with redis.Redis.from_url(service.broker.url(1)) as results:
        assert 0 < results.ttl(f"celery-task-meta-{result.id}") <= 24 * 60 * 60


def test_a_task_is_interrupted_at_its_soft_time_limit(service: Service, tmp_path: Path) -> None:
    never = str(tmp_path / "never")
    result = service.send("probe.hang", str(tmp_path / "started"), never, soft_time_limit=0.2)

    with pytest.raises(SoftTimeLimitExceeded):
        result.get(timeout=TIMEOUT)


def test_a_task_is_killed_at_its_time_limit_and_the_next_one_runs(
    service: Service, tmp_path: Path
) -> None:
    never = str(tmp_path / "never")
    result = service.send("probe.hang", str(tmp_path / "started"), never, time_limit=0.2)

    with pytest.raises(TimeLimitExceeded):
        result.get(timeout=TIMEOUT)
    assert service.send("hello.greet", "Ada").get(timeout=TIMEOUT) == "Hello, Ada!"


def test_the_lowest_priority_number_runs_first(
    service: Service, tmp_path: Path, lines: Callable[[], list[str]]
) -> None:
    with service.busy(tmp_path):
        results = [
            service.send("probe.write", str(tmp_path / "lines"), str(priority), priority=priority)
            for priority in (9, 0, 6, 3)
        ]
    for result in results:
        result.get(timeout=TIMEOUT)

    assert lines() == ["0", "3", "6", "9"]


def test_each_queue_is_a_list_of_its_own_and_its_tasks_run_once(
    service: Service, tmp_path: Path, lines: Callable[[], list[str]]
) -> None:
    with service.busy(tmp_path), redis.Redis.from_url(service.broker.url(0)) as lists:
        results = [
            service.send("probe.write", str(tmp_path / "lines"), queue, queue=queue)
            for queue in Queue
        ]
        assert [lists.llen(queue) for queue in Queue] == [1 for _ in Queue]
    for result in results:
        result.get(timeout=TIMEOUT)

    assert sorted(lines()) == sorted(Queue)


def test_a_task_for_a_queue_that_nobody_serves_is_not_accepted(service: Service) -> None:
    with pytest.raises(QueueNotFound):
        service.send("hello.greet", "Ada", queue="typo")


class Malicious:
    """Makes a folder wherever it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.folder),)


def test_a_pickled_message_is_dropped_unread(service: Service, tmp_path: Path) -> None:
    trap: Any = Malicious(tmp_path / "unpickled")
    service.send("hello.greet", trap, serializer="pickle")

    assert service.send("hello.greet", "Ada").get(timeout=TIMEOUT) == "Hello, Ada!"
    assert not (tmp_path / "unpickled").exists()


def test_a_countdown_delays_a_task(service: Service) -> None:
    sent = time.monotonic()
    service.send("hello.greet", "Ada", countdown=0.5).get(timeout=TIMEOUT)

    assert time.monotonic() - sent >= 0.5


def test_a_task_that_waited_too_long_does_not_run(
    service: Service, tmp_path: Path, lines: Callable[[], list[str]]
) -> None:
    expires = datetime.now(UTC) + timedelta(seconds=0.1)
    with service.busy(tmp_path):
        result = service.send("probe.write", str(tmp_path / "lines"), "late", expires=expires)
        wait_until(lambda: datetime.now(UTC) > expires, "the task to expire")

    with pytest.raises(TaskRevokedError):
        result.get(timeout=TIMEOUT)
    assert lines() == []


def test_a_waiting_task_that_is_revoked_does_not_run(
    service: Service, tmp_path: Path, lines: Callable[[], list[str]]
) -> None:
    with service.busy(tmp_path):
        result = service.send("probe.write", str(tmp_path / "lines"), "revoked")
        service.ask("control", "revoke", result.id)

    with pytest.raises(TaskRevokedError):
        result.get(timeout=TIMEOUT)
    assert lines() == []


def test_a_running_task_can_be_terminated(service: Service, tmp_path: Path) -> None:
    started = tmp_path / "started"
    result = service.send("probe.hang", str(started), str(tmp_path / "never"))
    wait_until(started.exists, "the task to run")
    service.ask("control", "terminate", "SIGKILL", result.id)

    with pytest.raises(TaskRevokedError):
        result.get(timeout=TIMEOUT)


def test_a_task_whose_process_is_killed_runs_again(service: Service, tmp_path: Path) -> None:
    started, until = tmp_path / "started", tmp_path / "until"
    result = service.send("probe.hang", str(started), str(until))
    wait_until(started.exists, "the task to run")
    started.unlink()
    (process,) = service.ask("inspect", "stats")[WORKER]["pool"]["processes"]
    os.kill(process, signal.SIGKILL)

    wait_until(started.exists, "the task to run again")
    until.touch()
    result.get(timeout=TIMEOUT)


@pytest.fixture
def leaving(service: Service, tmp_path: Path) -> Iterator[tuple["AsyncResult[Any]", Any]]:
    """A task that runs in a second worker, which was told to stop; and that worker."""
    with service.busy(tmp_path):
        command = [sys.executable, "-m", "celery", "-A", PACKAGE, "worker", "-I", "probe"]
        process = subprocess.Popen(
            [*command, "-n", "second@localhost"], cwd=service.folder, env=service.environment
        )
        files = tmp_path / "second_started", tmp_path / "second_until"
        result = service.send("probe.hang", *map(str, files))
        wait_until(files[0].exists, "the second worker to run a task")
        process.terminate()
        yield result, process
        process.kill()
        process.wait()
        files[1].touch()
    result.get(timeout=TIMEOUT)


def test_a_worker_that_is_stopped_finishes_what_it_runs(
    leaving: tuple["AsyncResult[Any]", Any], tmp_path: Path
) -> None:
    result, process = leaving
    (tmp_path / "second_until").touch()

    result.get(timeout=TIMEOUT)
    assert process.wait(TIMEOUT) == 0


def test_a_worker_that_must_stop_now_puts_its_task_back_into_the_queue(
    service: Service, leaving: tuple["AsyncResult[Any]", Any]
) -> None:
    _, process = leaving
    process.send_signal(signal.SIGQUIT)
    process.wait(TIMEOUT)

    with redis.Redis.from_url(service.broker.url(0)) as client:
        assert client.llen(Queue.DEFAULT) == 1


def test_a_task_is_called_and_its_result_read_from_the_command_line(service: Service) -> None:
    task_id = service.celery("call", "hello.greet", "--kwargs", '{"name": "Ada"}').strip()

    assert service.celery("result", task_id).strip() == "Hello, Ada!"


def test_inspect_shows_what_the_worker_knows_and_does(service: Service, tmp_path: Path) -> None:
    with service.busy(tmp_path):
        topics = ("registered", "active", "stats", "active_queues")
        answers = {topic: service.ask("inspect", topic)[WORKER] for topic in topics}

    assert {"hello.greet", "probe.hang"} <= set(answers["registered"])
    assert [task["name"] for task in answers["active"]] == ["probe.hang"]
    assert answers["stats"]["pool"]["max-concurrency"] == 1
    assert {queue["name"] for queue in answers["active_queues"]} == set(Queue)


def test_status_names_the_workers(service: Service) -> None:
    status = service.celery("status", *ONE_WORKER)

    assert WORKER in status
    assert "1 node online" in status


def test_a_rate_limit_holds_a_task_back(service: Service) -> None:
    answer = service.ask("control", "rate_limit", "probe.tell_time", "5/s")
    results = [service.send("probe.tell_time") for _ in range(2)]
    first, second = (result.get(timeout=TIMEOUT) for result in results)

    assert answer == [{WORKER: {"ok": "new rate limit set successfully"}}]
    assert second - first > 0.1  # not 0.2: a task starts a little after it is let through


def test_a_report_names_the_version_but_no_password(service: Service) -> None:
    report = service.celery("report")

    assert f"celery:{version('celery')}" in report
    assert service.broker.password not in report
