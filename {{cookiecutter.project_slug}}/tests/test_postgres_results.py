"""PostgreSQL as the result backend: results are rows, and the service's own tables stay apart."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from celery import states
from celery.backends.database import DatabaseBackend
from celery.result import AsyncResult, ResultSet
from live_service import (
    TIMEOUT,
    Service,
    running_service,
    sending_to,
    server_for_tests,
    wait_until,
)
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import OperationalError

from {{ cookiecutter.__package_slug }} import postgres_results
from {{ cookiecutter.__package_slug }}.celery import app
from {{ cookiecutter.__package_slug }}.settings import Settings

EXAMPLE = "db+postgresql+psycopg://postgres@localhost/postgres"
# Seconds between two looks of who is to be told before the second one.
NEVER = 10 * TIMEOUT
FORK = """
import os
from sqlalchemy import text
from {{ cookiecutter.__package_slug }}.celery import app

def other_end():
    with app.backend.connections.engine.connect() as connection:
        return connection.scalar(text("SELECT pg_backend_pid()"))

before = other_end()
child = os.fork()
if not child:
    os._exit(other_end() == before)
assert os.waitpid(child, 0)[1] == 0, "it has the connection of its parent"
assert other_end() == before, "it has lost its connection"
"""


def test_results_may_go_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "redis://results:6379/0")

    assert Settings(_env_file=None).celery_result_backend == "redis://results:6379/0"


def test_a_file_of_sqlite_keeps_results_as_celery_does(tmp_path: Path) -> None:
    url = f"db+sqlite:///{tmp_path}/results.sqlite3"
    with sending_to({"CELERY_BROKER_URL": "memory://", "CELERY_RESULT_BACKEND": url}) as sender:
        assert type(sender.backend) is DatabaseBackend


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    server_for_tests("TEST_RESULT_BACKEND", EXAMPLE)
    with running_service(tmp_path_factory.mktemp("service")) as service, service.worker():
        yield service


@pytest.mark.live
@pytest.mark.timeout(240)
def test_a_result_is_a_row(service: Service) -> None:
    result = service.send("hello.greet", "Ada")
    assert service.value(result) == "Hello, Ada!"

    engine = create_engine(service.environment["CELERY_RESULT_BACKEND"].removeprefix("db+"))
    statement = text("SELECT status FROM celery_taskmeta WHERE task_id = :id")
    with engine.connect() as connection:
        assert connection.scalar(statement, {"id": result.id}) == "SUCCESS"
    engine.dispose()


@pytest.mark.live
def test_a_server_without_tls_is_refused_where_the_address_asks_for_it() -> None:
    url = server_for_tests("TEST_RESULT_BACKEND", EXAMPLE)
    strict = f"{url}?sslmode=verify-full&sslrootcert=authorities.pem"
    environment = {"CELERY_BROKER_URL": "memory://", "CELERY_RESULT_BACKEND": strict}

    with sending_to(environment) as sender, pytest.raises(OperationalError, match="SSL was requi"):
        _ = sender.AsyncResult("any").state


@dataclass(frozen=True)
class Results:
    """What this process has to do with results, and the server's view of it."""

    backend: Any
    server: "psycopg.Connection[Any]"
    name: str
    told: list[str] = field(default_factory=list)

    def new(self) -> "AsyncResult[Any]":
        return app.AsyncResult(str(uuid4()), backend=self.backend)

    def store(self, result: "AsyncResult[Any]", value: object, state: str = states.SUCCESS) -> None:
        self.backend.store_result(result.id, value, state)

    def connections(self) -> list[str]:
        """The state of each that this process has."""
        question = "SELECT state FROM pg_stat_activity WHERE application_name = %s"
        return [state for (state,) in self.server.execute(question, [self.name])]

    def waited_for(self) -> int:
        question = (
            "SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE locktype = 'advisory' AND classid = %s AND application_name = %s"
        )
        return self.server.execute(question, [postgres_results.LOCKS, self.name]).rowcount

    def heard(self) -> list[str]:
        """What the server has told anybody since it was to tell this process."""
        self.told.extend(notice.payload for notice in self.server.notifies(timeout=0))
        return self.told

    def break_connections(self) -> None:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
        self.server.execute(ended, [self.name])


@pytest.fixture
def results() -> Iterator[Results]:
    url = server_for_tests("TEST_RESULT_BACKEND", EXAMPLE)
    address = url.replace("db+postgresql+psycopg", "postgresql")
    name = f"test-{uuid4()}"
    named = f"{url}?application_name={name}"
    environment = {"CELERY_BROKER_URL": "memory://", "CELERY_RESULT_BACKEND": named}
    with sending_to(environment) as sender, psycopg.connect(address, autocommit=True) as server:
        yield Results(sender.backend, server, name)


@pytest.mark.live
@pytest.mark.timeout(240)
def test_who_waits_is_told(service: Service, tmp_path: Path, results: Results) -> None:
    hanging = service.hang(tmp_path / "hanging")
    hanging.wait_for_run()
    result = app.AsyncResult(hanging.result.id, backend=results.backend)
    with ThreadPoolExecutor() as threads:
        value = threads.submit(result.get, timeout=NEVER, interval=NEVER)
        wait_until(results.waited_for, "somebody who waits")
        hanging.end()

        assert value.result(TIMEOUT) is None


@pytest.mark.live
@pytest.mark.timeout(240)
def test_many_threads_share_a_few_connections(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_results, "LINGER", NEVER)
    made: list[object] = []
    event.listen(results.backend.connections.engine, "connect", lambda *_: made.append(None))
    wanted = [results.new() for _ in range(40)]
    with ThreadPoolExecutor(2 * len(wanted)) as threads:
        values = [threads.submit(result.get, timeout=NEVER, interval=NEVER) for result in wanted]
        wait_until(lambda: results.waited_for() == len(wanted), "all who wait")
        large = "x" * 10_000
        stored = [threads.submit(results.store, result, large) for result in wanted]

        assert [value.result(TIMEOUT) for value in values] == [large] * len(wanted)
        assert [done.result(TIMEOUT) for done in stored] == [None] * len(wanted)
    assert len(made) < postgres_results.MOST
    # One more on which they are told.
    assert len(results.connections()) <= postgres_results.MOST + 1
    wait_until(lambda: not results.waited_for(), "the end of waiting")
    wait_until(lambda: set(results.connections()) == {"idle"}, "the end of all transactions")


@pytest.mark.live
@pytest.mark.timeout(240)
def test_the_results_of_a_group_are_waited_for_together(results: Results) -> None:
    wanted = [results.new() for _ in range(3)]
    with ThreadPoolExecutor() as threads:
        values = threads.submit(ResultSet(wanted).get, timeout=NEVER, interval=NEVER)
        for number, result in reversed(list(enumerate(wanted))):
            results.store(result, number)

        assert values.result(TIMEOUT) == [0, 1, 2]


@pytest.mark.live
@pytest.mark.timeout(240)
def test_who_waits_outlives_the_connections(results: Results) -> None:
    result = results.new()
    with ThreadPoolExecutor() as threads:
        value = threads.submit(result.get, timeout=NEVER, interval=NEVER)
        for _ in range(2):
            wait_until(results.waited_for, "somebody who waits")
            results.break_connections()
            wait_until(lambda: not results.waited_for(), "the end of the connection")
        wait_until(results.waited_for, "another connection")
        results.store(result, "done")

        assert value.result(TIMEOUT) == "done"


@pytest.mark.live
@pytest.mark.timeout(240)
def test_who_waits_sits_out_a_server_that_is_away(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, engine = results.new(), results.backend.connections.engine
    monkeypatch.setattr(results.backend, "max_retries", 0)
    refused: list[object] = []

    def refuse(*_: object) -> None:
        refused.append(None)
        raise psycopg.OperationalError("on purpose")

    with ThreadPoolExecutor() as threads:
        value = threads.submit(result.get, timeout=NEVER, interval=0.02)
        wait_until(results.waited_for, "somebody who waits")
        event.listen(engine, "do_connect", refuse)
        event.listen(engine, "checkout", refuse)
        wait_until(lambda: len(refused) > 5, "looks that fail")
        event.remove(engine, "checkout", refuse)
        event.remove(engine, "do_connect", refuse)
        results.store(result, "done")

        assert value.result(TIMEOUT) == "done"


@pytest.mark.live
@pytest.mark.timeout(240)
def test_a_server_on_which_nobody_waits_has_nothing_to_tell(
    results: Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_results, "LINGER", 0.1)
    results.server.execute(f"LISTEN {postgres_results.CHANNEL}")
    result, unwanted = results.new(), results.new()
    results.store(unwanted, "nobody waits for it")
    with ThreadPoolExecutor() as threads:
        value = threads.submit(result.get, timeout=NEVER, interval=NEVER)
        wait_until(results.waited_for, "somebody who waits")
        results.store(result, "done")
        assert value.result(TIMEOUT) == "done"

    wait_until(lambda: result.id in results.heard(), "word of the result")
    assert unwanted.id not in results.heard()
    pool = results.backend.connections.engine.pool
    wait_until(lambda: len(results.connections()) == pool.checkedin(), "the end of the listening")


@pytest.mark.live
@pytest.mark.timeout(240)
def test_what_has_succeeded_stays_so(results: Results) -> None:
    result = results.new()

    results.store(result, "first")
    results.store(result, "second")
    results.store(result, ValueError("third"), "FAILURE")

    assert result.get(timeout=TIMEOUT) == "first"


@pytest.mark.live
@pytest.mark.timeout(240)
def test_what_has_not_succeeded_gives_way(results: Results) -> None:
    result = results.new()

    error = ValueError("on purpose")
    for state, told in (("PROGRESS", {}), ("RETRY", error), ("FAILURE", error)):
        results.store(result, told, state)
        assert results.backend.get_state(result.id) == state
    results.store(result, "done")

    assert result.get(timeout=TIMEOUT) == "done"


@pytest.mark.live
@pytest.mark.timeout(240)
def test_reports_of_progress_use_up_no_numbers(results: Results) -> None:
    first, following = results.new(), results.new()
    question = "SELECT id FROM celery_taskmeta WHERE task_id = %s AND date_done IS NOT NULL"

    for _ in range(20):
        results.store(first, {}, "PROGRESS")
    results.store(following, "done")

    ((before,),) = results.server.execute(question, [first.id])
    ((after,),) = results.server.execute(question, [following.id])
    assert after - before < 20


@pytest.mark.live
@pytest.mark.timeout(240)
def test_what_is_forgotten_is_unknown(results: Results) -> None:
    result = results.new()
    results.store(result, "done")

    result.forget()

    assert result.state == "PENDING"


@pytest.mark.live
@pytest.mark.timeout(240)
def test_a_process_that_is_forked_has_connections_of_its_own(service: Service) -> None:
    service.run(sys.executable, "-W", "ignore", "-c", FORK)
