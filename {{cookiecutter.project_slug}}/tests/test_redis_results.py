"""Redis as the result backend: beside the broker unless it is set, and emptied after a day."""

import time
from pathlib import Path

import pytest
import redis
from live_service import Service, sending_to, wait_until

from {{ cookiecutter.__package_slug }}.settings import load

AWAY = {"CELERY_BROKER_URL": "memory://", "CELERY_RESULT_BACKEND": "redis://127.0.0.1:1/0"}


def test_results_may_go_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_RESULT_BACKEND", "redis://results:6379/0")

    assert load().celery_result_backend == "redis://results:6379/0"


def test_a_task_is_sent_while_redis_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []

    def send(producer: object, name: str, *args: object, **options: object) -> None:
        sent.append(name)

    with sending_to(AWAY) as sender:
        monkeypatch.setattr(sender.amqp, "send_task_message", send)
        started = time.monotonic()
        sender.send_task("hello.greet", ("Ada",))
        waited = time.monotonic() - started

    assert sent == ["hello.greet"]
    assert waited < 4


@pytest.mark.live
@pytest.mark.timeout(240)
def test_who_waits_for_a_result_soon_learns_that_redis_is_away() -> None:
    started = time.monotonic()
    with sending_to(AWAY) as sender, pytest.raises(RuntimeError):
        sender.AsyncResult("any").get()
    waited = time.monotonic() - started

    assert waited < 12


@pytest.mark.live
@pytest.mark.timeout(240)
def test_a_result_is_kept_for_a_day(service: Service) -> None:
    result = service.send("hello.greet", "Ada")
    assert service.value(result) == "Hello, Ada!"

    with redis.Redis.from_url(service.environment["CELERY_RESULT_BACKEND"]) as results:
        assert 0 < results.ttl(f"celery-task-meta-{result.id}") <= 24 * 60 * 60


@pytest.mark.live
@pytest.mark.timeout(240)
def test_a_task_whose_result_meets_a_full_redis_runs_once(service: Service, tmp_path: Path) -> None:
    hanging = service.hang(tmp_path / "hanging")
    hanging.wait_for_run()
    with redis.Redis.from_url(service.environment["CELERY_RESULT_BACKEND"]) as results:
        results.config_set("maxmemory", "1mb")
        hanging.end()
        wait_until(lambda: "errorstat_OOM" in results.info("errorstats"), "a refusal")
        results.config_set("maxmemory", "0")

    assert service.value(hanging.result) is None
    assert len(hanging.runs()) == 1
