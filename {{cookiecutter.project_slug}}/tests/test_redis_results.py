"""Redis as the result backend: beside the broker unless it is set, and emptied after a day."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery.backends.redis import RedisBackend
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


@pytest.mark.live
@pytest.mark.timeout(240)
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_what_has_succeeded_stays_so(
    service: Service, monkeypatch: pytest.MonkeyPatch, compression: str | None
) -> None:
    result, backend = _new(service)
    monkeypatch.setattr(backend, "compression", compression)

    backend.store_result(result.id, "first", "SUCCESS")
    backend.store_result(result.id, "second", "SUCCESS")
    backend.store_result(result.id, ValueError("third"), "FAILURE")

    assert service.value(result) == "first"


@pytest.mark.live
@pytest.mark.timeout(240)
@pytest.mark.filterwarnings("ignore:Call to deprecated setex")
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_what_has_not_succeeded_gives_way(
    service: Service, monkeypatch: pytest.MonkeyPatch, compression: str | None
) -> None:
    result, backend = _new(service)
    monkeypatch.setattr(backend, "compression", compression)

    error = ValueError("on purpose")
    for state, told in (("PROGRESS", {}), ("RETRY", error), ("FAILURE", error)):
        backend.store_result(result.id, told, state)
        assert backend.get_state(result.id) == state
    backend.store_result(result.id, "done", "SUCCESS")

    assert service.value(result) == "done"


@pytest.mark.live
@pytest.mark.timeout(240)
def test_a_result_is_stored_by_one_request(service: Service) -> None:
    _, backend = _new(service)
    with redis.Redis.from_url(service.environment["CELERY_RESULT_BACKEND"]) as results:
        backend.store_result(str(uuid4()), "so that Redis knows the script", "SUCCESS")
        results.config_resetstat()
        for _ in range(20):
            backend.store_result(str(uuid4()), "done", "SUCCESS")
        calls = {name: told["calls"] for name, told in results.info("commandstats").items()}

    # A worker that keeps its leases asks the same server now and then.
    assert calls["cmdstat_evalsha"] in range(20, 30)
    assert "cmdstat_multi" not in calls
    assert "cmdstat_get" not in calls


@pytest.mark.live
@pytest.mark.timeout(240)
def test_who_waits_with_plain_celery_is_told(service: Service) -> None:
    result, backend = _new(service)
    url = service.environment["CELERY_RESULT_BACKEND"]
    plain: Any = RedisBackend(app=service.sender, url=url)
    waiting = service.sender.AsyncResult(result.id, backend=plain)
    channel = f"celery-task-meta-{result.id}"

    with redis.Redis.from_url(url) as results, ThreadPoolExecutor() as threads:
        results.config_resetstat()
        value = threads.submit(service.value, waiting)
        wait_until(lambda: results.pubsub_numsub(channel)[0][1], "somebody who waits")
        # It has subscribed, and then looks once: what comes after that it can only be told.
        wait_until(lambda: "cmdstat_get" in results.info("commandstats"), "a look")
        backend.store_result(result.id, "done", "SUCCESS")

        assert value.result() == "done"
    plain.result_consumer.stop()
    plain.client.close()


def _new(service: Service) -> tuple[Any, Any]:
    """A result that no task will have, and where it is stored."""
    return service.sender.AsyncResult(str(uuid4())), service.sender.backend
