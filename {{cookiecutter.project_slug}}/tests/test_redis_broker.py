"""Redis as the broker: a list for each queue and priority, and no unverified certificate."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from live_service import WORKER, Service, running_service, wait_until

from {{ cookiecutter.__package_slug }}.queues import Queue
from {{ cookiecutter.__package_slug }}.settings import load


def test_a_certificate_that_would_not_be_verified_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CELERY_BROKER_URL", "rediss://redis:6379/0")

    with pytest.raises(SystemExit, match=r"add \?ssl_cert_reqs=required"):
        load()


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
def test_inspect_shows_a_task_that_is_not_due_yet(service: Service) -> None:
    later = service.send("hello.greet", "Ada", countdown=3600)
    wait_until(
        lambda: later.id in str(service.ask("inspect", "scheduled")), "the task to be scheduled"
    )
    found = service.ask("inspect", "query_task", later.id)[WORKER]
    service.ask("control", "revoke", later.id)

    assert found[later.id][0] == "scheduled"
