"""A broker and a worker as processes of their own, for the tests that are marked `live`."""

import json
import os
import signal
#{% if cookiecutter.__broker == "sqs" %}
import socket
#{% endif %}
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
#{% if cookiecutter.include_sqlalchemy and cookiecutter.__broker == "redis" %}
from urllib.parse import urlsplit
#{% endif %}

#{% if cookiecutter.__broker == "sqs" %}
import boto3
#{% endif %}
import pytest
#{% if cookiecutter.include_sqlalchemy and cookiecutter.__broker == "redis" %}
import redis
#{% endif %}
from celery import Celery
from celery.result import AsyncResult
#{% if cookiecutter.__broker == "rabbitmq" %}
from kombu import Connection
#{% endif %}

#{% if cookiecutter.include_sqlalchemy and cookiecutter.__broker == "redis" %}
from {{ cookiecutter.__package_slug }} import embedded_broker
#{% endif %}
from {{ cookiecutter.__package_slug }}.broker import DEAD_LETTERS_QUEUE, TRANSPORT_OPTIONS
from {{ cookiecutter.__package_slug }}.celery import app
from {{ cookiecutter.__package_slug }}.dead_letters import opened
#{% if "redis" in [cookiecutter.__broker, cookiecutter.__result_backend] %}
from {{ cookiecutter.__package_slug }}.embedded_broker import running
#{% endif %}
#{% if cookiecutter.__broker == "sqs" or (cookiecutter.include_sqlalchemy and cookiecutter.__broker == "redis") %}
from {{ cookiecutter.__package_slug }}.ports import free_port
#{% endif %}
#{% if cookiecutter.__broker != "sqs" %}
from {{ cookiecutter.__package_slug }}.queues import DEAD_LETTERS
#{% endif %}
#{% if cookiecutter.__broker == "sqs" %}
from {{ cookiecutter.__package_slug }}.queues import DEAD_LETTERS, Queue
#{% endif %}
from {{ cookiecutter.__package_slug }}.settings import Settings

PACKAGE = "{{ cookiecutter.__package_slug }}"
PROJECT = Path(__file__).parents[1]
CELERY = (sys.executable, "-m", "celery", "-A", PACKAGE)
WORKER = "probed@localhost"
# Seconds. A machine that is busy with other things must not fail a test.
TIMEOUT = 60
# Celery would wait as long for more answers than the one there is.
ONE_WORKER = ("--timeout", str(TIMEOUT), "--destination", WORKER)
#{% if cookiecutter.__broker == "sqs" %}
# The shortest SHUTDOWN_TIMEOUT: a request for messages that is still open, for up to ten seconds,
# would take again what a worker gives back.
SHORTEST_STOP = "12"
# Seconds between the end of a fault and a task that is sent and run as if nothing had happened: a
# long poll that was cut off has to be missed first, and what stands in for SQS is slow.
SOON = 60
#{% endif %}
#{% if cookiecutter.__broker != "sqs" %}
# The shortest SHUTDOWN_TIMEOUT.
SHORTEST_STOP = "0.5"
# Seconds between the end of a fault and a task that is sent and run as if nothing had happened.
SOON = 10
#{% endif %}
PROBE = '''
"""Tasks that show what the worker does with them."""

import builtins
import os
import signal
import time
from collections.abc import Generator
from pathlib import Path

from celery import shared_task

from {{ cookiecutter.__package_slug }}.jobs import Progress
from {{ cookiecutter.__package_slug }}.progress import publish


@shared_task(name="probe.write")
def write(file: str, line: str, seconds: str = "0", ballast: str = "") -> None:
    time.sleep(float(seconds))
    with Path(file).open("a") as lines:
        lines.write(f"{line}\\n")


@shared_task(name="probe.count")
def count(folder: str, total: str) -> int:
    """Take a step for each file that is there."""

    def steps() -> Generator[Progress, None, int]:
        for done in range(1, int(total) + 1):
            while not (Path(folder) / str(done)).exists():
                time.sleep(0.01)
            yield Progress(done, int(total))
        return int(total)

    return publish(steps())


@shared_task(name="probe.hang")
def hang(started: str, until: str) -> None:
    with Path(started).open("a") as lines:
        lines.write(f"{os.getpid()}\\n")
    while not Path(until).exists():
        time.sleep(0.01)


@shared_task(name="probe.tell_time")
def tell_time() -> float:
    return time.monotonic()


@shared_task(name="probe.end_badly")
def end_badly(how: str, started: str) -> None:
    with Path(started).open("a") as lines:
        lines.write(f"{os.getpid()}\\n")
    if how == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif how == "exit":
        os._exit(1)
    elif how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    raise getattr(builtins, how)("on purpose")


@shared_task(name="probe.need")
def need(file: str) -> str:
    return Path(file).read_text()


@shared_task(
    name="probe.fail_once", autoretry_for=(ConnectionError,), retry_backoff=True, max_retries=3
)
def fail_once(mark: str) -> str:
    if not Path(mark).exists():
        Path(mark).touch()
        raise ConnectionError("the first attempt fails")
    return "done"
'''


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {TIMEOUT} s for {what}")
        time.sleep(0.01)


#{% if cookiecutter.__broker == "rabbitmq" or cookiecutter.__result_backend == "postgres" or cookiecutter.include_sqlalchemy %}
def server_for_tests(variable: str, example: str) -> str:
    """The address in this variable; who has no such server skips the test, but CI must not."""
    if variable not in os.environ:
        reason = f"{variable} must name a server that tests may empty, for example {example}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return os.environ[variable]


#{% endif %}
@dataclass
class Hanging:
    """A task that runs until it is told to end, and each run of it."""

    result: "AsyncResult[Any]"
    folder: Path

    def runs(self) -> list[int]:
        """The process of each run that has begun."""
        started = self.folder / "started"
        return [int(line) for line in started.read_text().split()] if started.exists() else []

    def wait_for_run(self, number: int = 1) -> int:
        wait_until(lambda: len(self.runs()) >= number, f"run {number} of the task")
        return self.runs()[number - 1]

    def end(self) -> None:
        (self.folder / "until").touch()


@dataclass(frozen=True)
class Service:
    """A broker, a store of results, and the workers that a test starts there."""

    folder: Path
    environment: dict[str, str]
    sender: Celery = field(repr=False)

    def send(self, task: str, *args: str, **options: Any) -> "AsyncResult[Any]":
        """With the application's own routes and queues, which the test process has in memory."""
        return self.sender.send_task(task, args, **options)

    def batch(self) -> AbstractContextManager[None]:
        """Send all tasks of the block together."""
        batch: AbstractContextManager[None] = self.sender.batch()  # type: ignore[attr-defined]
        return batch

    def value(self, result: "AsyncResult[Any]") -> Any:
        return result.get(timeout=TIMEOUT, interval=0.02)

    def hang(self, folder: Path, **options: Any) -> Hanging:
        """A task that runs until the file `until` is there."""
        folder.mkdir(exist_ok=True)
        files = str(folder / "started"), str(folder / "until")
        return Hanging(self.send("probe.hang", *files, **options), folder)

    def waiting(self, queue: str) -> int:
        """How many tasks the broker has that no worker has taken."""
        with self.sender.connection_for_write() as connection:
            queues = {**self.sender.amqp.queues, DEAD_LETTERS: DEAD_LETTERS_QUEUE}
            declared: Any = queues[queue](connection.default_channel)
            return int(declared.queue_declare().message_count)

    def dead_letter(self) -> dict[str, Any]:
        """What is known of the only one, as soon as it is there. Afterwards it is not."""
        wait_until(lambda: self.waiting(DEAD_LETTERS), "a dead letter")
        with opened(self.sender) as (letter,):
            letter.message.ack()
            return letter.about

    @contextmanager
    def busy(self, folder: Path) -> Iterator[None]:
        """Until the end of the block the one worker takes no other task, so they wait."""
        hanging = self.hang(folder / "busy")
        try:
            hanging.wait_for_run()
            #{% if cookiecutter.__worker_pool == "gevent" and cookiecutter.__broker != "redis" %}
            # This pool has one task more in hand than it runs.
            self.send("hello.greet", "Ada")
            wait_until(lambda: not self.waiting("default"), "the worker to take one more task")
            #{% endif %}
            yield
        finally:
            # A task that never ends would fail every test after this one.
            hanging.end()
        self.value(hanging.result)

    @contextmanager
    def worker(self, *options: str, name: str = WORKER) -> Iterator["subprocess.Popen[bytes]"]:
        """One that listens until the end of the block, and then is stopped."""
        command = [*CELERY, "worker"{{ cookiecutter._pools[cookiecutter.worker_pool].argument }}, "-I", "probe", "-n", name, *options]
        process = subprocess.Popen(
            command, cwd=self.folder, env=self.environment, start_new_session=True
        )
        try:
            yield process
            process.terminate()
            process.wait(TIMEOUT)
        finally:
            kill(process)

    #{% if cookiecutter.include_sqlalchemy and cookiecutter.__broker == "redis" %}
    @contextmanager
    def broker_without_its_data(self) -> Iterator[None]:
        """It was killed and its disk lost; until the end of the block there is a new one."""
        url = urlsplit(self.environment["CELERY_BROKER_URL"])
        with redis.Redis.from_url(url.geturl()) as client:
            os.kill(client.info()["process_id"], signal.SIGKILL)
        assert url.port
        assert url.password
        port, password = url.port, url.password
        wait_until(lambda: free_port(port) == port, "the killed one to end")
        empty = embedded_broker.EmbeddedBroker(self.folder / "empty", port, password)
        with embedded_broker.started(empty):
            yield

    #{% endif %}
    #{% if cookiecutter.include_sqlalchemy and cookiecutter.__broker != "redis" %}
    @contextmanager
    def broker_without_its_data(self) -> Iterator[None]:
        """The broker has lost all that nobody had taken."""
        self.sender.control.purge()
        yield

    #{% endif %}
    def celery(self, *arguments: str) -> str:
        """What Celery's own command prints."""
        return self.run(*CELERY, *arguments)

    def run(self, *command: str) -> str:
        ran = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT * 2,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def ask(self, *arguments: str) -> Any:
        """The worker's answer, as soon as it comes."""
        return json.loads(self.celery(*arguments, *ONE_WORKER, "--json"))


def kill(worker: "subprocess.Popen[bytes]") -> None:
    """End a worker and the processes of its pool, which a killed one would leave behind."""
    with suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


@contextmanager
def running_service(folder: Path, **changed: str) -> Iterator[Service]:
    """A broker without a worker, both of whose settings a test may change."""
    (folder / "probe.py").write_text(PROBE)
    names = os.environ.keys() - {name.upper() for name in Settings.model_fields}
    paths = [str(folder), str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with ExitStack() as stack:
        environment = {name: os.environ[name] for name in names} | {
            "PYTHONPATH": os.pathsep.join(paths),
            "WORKER_CONCURRENCY": "1",
            **_broker_and_results(folder, stack),
            **changed,
        }
        sender = stack.enter_context(sending_to(environment))
        yield Service(folder, environment, sender)


def leading_to(port: int) -> dict[str, str]:
    """The environment of a service whose broker is on this port, and keeps results nowhere."""
    found = {"CELERY_RESULT_BACKEND": "cache+memory://"}
    #{% if cookiecutter.__broker == "redis" %}
    found["CELERY_BROKER_URL"] = f"redis://127.0.0.1:{port}/0"
    #{% endif %}
    #{% if cookiecutter.__broker == "rabbitmq" %}
    found["CELERY_BROKER_URL"] = f"amqp://guest:guest@127.0.0.1:{port}//"
    #{% endif %}
    #{% if cookiecutter.__broker == "sqs" %}
    found["CELERY_BROKER_URL"] = f"sqs://test:test@127.0.0.1:{port}"
    found["SQS_QUEUE_URL_PREFIX"] = f"http://127.0.0.1:{port}/123456789012/tests-"
    #{% endif %}
    return found


@contextmanager
def sending_to(environment: Mapping[str, str]) -> Iterator[Celery]:
    """The application, on the broker of this environment instead of the one in memory."""
    sender: Any = type(app)(app.main, set_as_current=False)
    sender.conf.update(dict(app.conf.changes or {}))
    sender.loader.override_backends = app.loader.override_backends
    # The environment, which leads these tests to memory, would win over other names for these two.
    sender.conf.broker_write_url = environment["CELERY_BROKER_URL"]
    sender.backend_cls = environment["CELERY_RESULT_BACKEND"]
    sender.conf.broker_transport_options = _transport_options(environment)
    #{% if cookiecutter.__result_backend == "none" %}
    yield sender
    #{% endif %}
    #{% if cookiecutter.__result_backend == "postgres" %}
    try:
        yield sender
    finally:
        # Connections that are collected later would be told of in another test.
        if sender._backend_cache:
            sender._backend_cache.close()
    #{% endif %}
    #{% if cookiecutter.__result_backend == "redis" %}
    try:
        yield sender
    finally:
        # A result that is collected later must not look for a server that is gone.
        if environment["CELERY_RESULT_BACKEND"].startswith("redis"):
            sender.backend.result_consumer.stop()
            sender.backend.result_consumer._pubsub = None
            sender.backend.client.close()
    #{% endif %}
    sender.close()


def _transport_options(environment: Mapping[str, str]) -> dict[str, Any]:
    #{% if cookiecutter.__broker != "sqs" %}
    return TRANSPORT_OPTIONS
    #{% endif %}
    #{% if cookiecutter.__broker == "sqs" %}
    prefix = environment.get("SQS_QUEUE_URL_PREFIX", "")
    queues = {str(name): {"url": f"{prefix}{name}"} for name in [*Queue, DEAD_LETTERS]}
    return TRANSPORT_OPTIONS | {"predefined_queues": queues}
    #{% endif %}


def _broker_and_results(folder: Path, stack: ExitStack) -> dict[str, str]:
    found: dict[str, str] = {}
    #{% if "redis" in [cookiecutter.__broker, cookiecutter.__result_backend] %}
    server = stack.enter_context(running(folder / "redis"))
    #{% endif %}
    #{% if cookiecutter.__broker == "redis" %}
    found["CELERY_BROKER_URL"] = server.url(0)
    #{% endif %}
    #{% if cookiecutter.__broker == "rabbitmq" %}
    found["CELERY_BROKER_URL"] = _empty_rabbitmq()
    #{% endif %}
    #{% if cookiecutter.__broker == "sqs" %}
    found |= stack.enter_context(_sqs())
    #{% endif %}
    #{% if cookiecutter.__result_backend == "redis" %}
    found["CELERY_RESULT_BACKEND"] = server.url(1)
    #{% endif %}
    #{% if cookiecutter.__result_backend == "postgres" %}
    file = f"db+sqlite:///{folder}/results.sqlite3"
    found["CELERY_RESULT_BACKEND"] = os.environ.get("TEST_RESULT_BACKEND", file)
    #{% endif %}
    #{% if cookiecutter.__result_backend == "none" %}
    # The service keeps no results, but without any a test would see nothing.
    (folder / "results").mkdir()
    found["CELERY_RESULT_BACKEND"] = f"file://{folder}/results"
    #{% endif %}
    return found
#{% if cookiecutter.__broker == "rabbitmq" %}


def _empty_rabbitmq() -> str:
    """The one that TEST_BROKER_URL names, without the tasks of earlier tests."""
    url = server_for_tests("TEST_BROKER_URL", "amqp://guest:guest@localhost:5672//")
    with Connection(url) as connection:
        for queue in [*app.conf.task_queues, DEAD_LETTERS_QUEUE]:
            bound = queue(connection.default_channel)
            bound.declare()
            bound.purge()
    return url
#{% endif %}
#{% if cookiecutter.__broker == "sqs" %}


@contextmanager
def _sqs() -> Iterator[dict[str, str]]:
    """A server that stands in for SQS, with the queues that the service needs."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    # AWS' own library insists on a key, but this server does not check it.
    key = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (
        pytest.MonkeyPatch.context() as environment,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server,
    ):
        for name, value in key.items():
            environment.setenv(name, value)
        try:
            wait_until(lambda: _listens(port), "the server that stands in for SQS")
            account = boto3.client("sqs", endpoint_url=address, region_name="us-east-1")
            for name in [*Queue, DEAD_LETTERS]:
                account.create_queue(QueueName=f"tests-{name}")
            account.close()
            prefix = f"{address}/123456789012/tests-"
            broker = f"sqs://127.0.0.1:{port}"
            yield key | {"SQS_QUEUE_URL_PREFIX": prefix, "CELERY_BROKER_URL": broker}
        finally:
            server.kill()


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False
#{% endif %}
