"""Redis as the result backend: beside the broker unless it is set, and emptied after a day."""

import time
from collections.abc import Iterator

import pytest
import redis
from live_service import Service, running_service, sending_to

from {{ cookiecutter.__package_slug }}.settings import load


def test_results_may_go_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "redis://results:6379/0")

    assert load().celery_result_backend == "redis://results:6379/0"


@pytest.mark.live
@pytest.mark.timeout(240)
def test_who_sends_a_task_soon_learns_that_redis_is_away() -> None:
    away = {"CELERY_BROKER_URL": "memory://", "CELERY_RESULT_BACKEND": "redis://127.0.0.1:1/0"}
    started = time.monotonic()
    with sending_to(away) as sender, pytest.raises(RuntimeError):
        sender.send_task("hello.greet", ("Ada",))
    waited = time.monotonic() - started

    assert waited < 12


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service")) as service, service.worker():
        yield service


@pytest.mark.live
@pytest.mark.timeout(240)
def test_a_result_is_kept_for_a_day(service: Service) -> None:
    result = service.send("hello.greet", "Ada")
    assert service.value(result) == "Hello, Ada!"

    with redis.Redis.from_url(service.environment["CELERY_RESULT_BACKEND"]) as results:
        assert 0 < results.ttl(f"celery-task-meta-{result.id}") <= 24 * 60 * 60
