"""PostgreSQL as the result backend: results are rows, and the service's own tables stay apart."""

from collections.abc import Iterator

import pytest
from live_service import Service, running_service, sending_to, server_for_tests
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from {{ cookiecutter.__package_slug }}.settings import Settings

EXAMPLE = "db+postgresql+psycopg://postgres@localhost/postgres"


def test_results_may_go_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "redis://results:6379/0")

    assert Settings(_env_file=None).celery_result_backend == "redis://results:6379/0"


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
