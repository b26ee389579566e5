"""Redis itself breaks while tasks are sent all the time: none is lost that it has accepted."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals

import pytest
import redis
from chaos import Load, Record, service_under_load
from live_service import TIMEOUT

from {{ cookiecutter.__package_slug }}.embedded_broker import EmbeddedBroker

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]
# Seconds that Redis takes no task.
OUTAGE = 10
# So long that who waits for a message gives up.
SILENCE = 16


class Server:
    """A Redis that a test can end."""

    def __init__(self, folder: Path, fsync: str = "everysec") -> None:
        self._broker = EmbeddedBroker(folder)
        self._configuration = f"{self._broker.configuration}appendfsync {fsync}\n"
        self.variables = {
            "CELERY_BROKER_URL": self._broker.url(0),
            "CELERY_RESULT_BACKEND": self._broker.url(1),
        }

    @contextmanager
    def running(self) -> Iterator["Server"]:
        self._start()
        try:
            yield self
        finally:
            self._end(SIGKILL)

    def restart(self, signal: Signals) -> None:
        self._end(signal)
        self._start()

    def limit_memory(self, limit: str) -> None:
        with redis.Redis.from_url(self._broker.url(0)) as client:
            client.config_set("maxmemory", limit)

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._broker.command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        assert self._process.stdin
        with self._process.stdin as stdin:
            stdin.write(self._configuration)
        self._broker.wait_until_ready()

    def _end(self, signal: Signals) -> None:
        self._process.send_signal(signal)
        self._process.wait(TIMEOUT)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "server").running() as server:
        yield server


@pytest.fixture
def load(tmp_path: Path, server: Server, record_property: Record) -> Iterator[Load]:
    with service_under_load(tmp_path, record_property, **server.variables) as load:
        yield load


def test_nothing_is_lost_when_redis_is_restarted(load: Load, server: Server) -> None:
    with load.worker():
        for _ in range(3):
            load.goes_on()
            server.restart(SIGTERM)
        load.survives()


def test_nothing_is_lost_when_redis_is_killed(load: Load, server: Server) -> None:
    with load.worker():
        for _ in range(3):
            load.goes_on()
            server.restart(SIGKILL)
        load.survives()


def test_nothing_is_lost_when_redis_is_killed_that_syncs_each_write(
    tmp_path: Path, record_property: Record
) -> None:
    with (
        Server(tmp_path / "server", "always").running() as server,
        service_under_load(tmp_path, record_property, **server.variables) as load,
        load.worker(),
    ):
        server.restart(SIGKILL)
        load.survives()


def test_nothing_is_lost_when_the_memory_of_redis_is_full(load: Load, server: Server) -> None:
    with load.worker():
        server.limit_memory("1mb")
        time.sleep(OUTAGE)
        server.limit_memory("0")
        load.survives()


def test_nothing_is_lost_when_connections_die_without_a_word(load: Load) -> None:
    with load.worker():
        with load.line.forgetting():
            time.sleep(SILENCE)
        load.survives()


def test_nothing_is_lost_when_tasks_outlast_the_lease_and_the_visibility_timeout(
    tmp_path: Path, record_property: Record
) -> None:
    short = {"TASK_TIME_LIMIT": "3", "VISIBILITY_TIMEOUT": "4", "TASK_LEASE": "5"}
    with service_under_load(tmp_path, record_property, **short) as load, load.worker():
        load.send(0, seconds=10, time_limit=TIMEOUT)
        load.send(-1, countdown=10)
        load.survives()
    assert load.run_twice() == 0
