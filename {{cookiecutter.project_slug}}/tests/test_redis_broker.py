"""Redis as the broker: a list for each queue and priority, and no unverified certificate."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

import pytest
import redis
from celery import group
from celery.exceptions import Retry
from live_service import WORKER, Service, running_service, wait_until

from {{ cookiecutter.__package_slug }} import redis_leases
from {{ cookiecutter.__package_slug }}.dead_letters import DELIVERIES
from {{ cookiecutter.__package_slug }}.queues import Queue
from {{ cookiecutter.__package_slug }}.settings import load


def test_a_certificate_that_would_not_be_verified_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "rediss://redis:6379/0")

    with pytest.raises(SystemExit, match=r"add \?ssl_cert_reqs=required"):
        load()


def test_locks_are_found_where_the_broker_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "redis+socket:///run/redis.sock?virtual_host=3")
    monkeypatch.setattr(redis_leases, "settings", load())

    found = redis_leases.client.__wrapped__().connection_pool.connection_kwargs
    assert (found["path"], found["db"]) == ("/run/redis.sock", 3)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With a worker that runs one task at a time and has answered."""
    with running_service(tmp_path_factory.mktemp("service")) as service, service.worker():
        service.value(service.send("hello.greet", "Ada"))
        yield service


@pytest.mark.live
@pytest.mark.timeout(240)
def test_each_queue_is_a_list_of_its_own(service: Service, tmp_path: Path) -> None:
    lists = redis.Redis.from_url(service.environment["CELERY_BROKER_URL"])
    with service.busy(tmp_path), lists:
        results = [service.send("hello.greet", "Ada", queue=queue) for queue in Queue]
        assert [lists.llen(queue) for queue in Queue] == [1 for _ in Queue]

    assert [service.value(result) for result in results] == ["Hello, Ada!" for _ in Queue]


@pytest.mark.live
@pytest.mark.timeout(240)
def test_a_batch_that_fails_before_it_is_sent_sends_nothing(
    service: Service, tmp_path: Path
) -> None:
    with service.busy(tmp_path):
        with pytest.raises(LookupError):
            _send_and_raise(service, LookupError("the others are not known"))
        assert service.waiting("default") == 0


@pytest.mark.live
@pytest.mark.timeout(240)
def test_a_task_that_leaves_a_batch_to_be_tried_again_is_sent(
    service: Service, tmp_path: Path
) -> None:
    with service.busy(tmp_path):
        with pytest.raises(Retry):
            _send_and_raise(service, Retry())
        assert service.waiting("default") == 1


@pytest.mark.live
@pytest.mark.timeout(240)
def test_blocks_and_groups_in_a_batch_are_part_of_it(service: Service, tmp_path: Path) -> None:
    greet = service.sender.signature("hello.greet", ("Ada",))
    with service.busy(tmp_path):
        with service.batch():
            with service.batch():
                service.send("hello.greet", "Ada")
            group(greet for _ in range(2)).apply_async()
            assert service.waiting("default") == 0
        assert service.waiting("default") == 3


@pytest.mark.live
@pytest.mark.timeout(240)
def test_what_a_batch_starts_is_no_part_of_it(service: Service, tmp_path: Path) -> None:
    with service.busy(tmp_path):
        with service.batch(), ThreadPoolExecutor(1) as pool:
            left_behind = copy_context()
            pool.submit(left_behind.run, service.send, "hello.greet", "Ada").result()
            assert service.waiting("default") == 1
        left_behind.run(service.send, "hello.greet", "Ada")
        assert service.waiting("default") == 2


def _send_and_raise(service: Service, error: Exception) -> None:
    with service.batch():
        service.send("hello.greet", "Ada")
        raise error


@pytest.mark.live
@pytest.mark.timeout(240)
def test_a_batch_takes_one_round_trip_for_many_tasks(service: Service, tmp_path: Path) -> None:
    lists = redis.Redis.from_url(service.environment["CELERY_BROKER_URL"])
    with service.busy(tmp_path), lists:
        read = lists.info("stats")["total_reads_processed"]
        with service.batch():
            results = [service.send("hello.greet", "Ada") for _ in range(40)]
        took = lists.info("stats")["total_reads_processed"] - read
    for result in results:
        service.value(result)

    assert took < 20


@pytest.mark.live
@pytest.mark.timeout(240)
def test_the_lowest_priority_number_runs_first(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    with service.busy(tmp_path):
        results = [
            service.send("probe.write", str(file), str(priority), priority=priority)
            for priority in (9, 0, 6, 3)
        ]
    for result in results:
        service.value(result)

    assert file.read_text().split() == ["0", "3", "6", "9"]


@pytest.mark.live
@pytest.mark.timeout(240)
def test_a_task_that_was_delivered_too_often_is_kept_instead(service: Service) -> None:
    poison = service.send("hello.greet", "Ada", headers={DELIVERIES: 5})
    letter = service.dead_letter()

    assert (letter["id"], letter["reason"]) == (poison.id, "delivered too often")
    with pytest.raises(Exception, match="5 times"):
        service.value(poison)


@pytest.mark.live
@pytest.mark.timeout(240)
def test_inspect_shows_a_task_that_is_not_due_yet(service: Service) -> None:
    later = service.send("hello.greet", "Ada", countdown=600)
    wait_until(
        lambda: later.id in str(service.ask("inspect", "scheduled")), "the task to be scheduled"
    )
    found = service.ask("inspect", "query_task", later.id)[WORKER]
    service.ask("control", "revoke", later.id)

    assert found[later.id][0] == "scheduled"
