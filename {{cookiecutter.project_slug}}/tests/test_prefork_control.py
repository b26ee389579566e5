"""Remote control of the prefork pool: a running task is ended, and the pool changes its size."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.exceptions import TaskRevokedError
from live_service import WORKER, Service, running_service, wait_until

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """With a worker that has answered."""
    with running_service(tmp_path_factory.mktemp("service")) as service, service.worker():
        service.value(service.send("hello.greet", "Ada"))
        yield service


def processes(service: Service) -> set[int]:
    """Of the pool."""
    return set(service.ask("inspect", "stats")[WORKER]["pool"]["processes"])


def test_a_running_task_can_be_terminated(service: Service, tmp_path: Path) -> None:
    hanging = service.hang(tmp_path / "hanging")
    hanging.wait_for_run()
    service.ask("control", "terminate", "SIGKILL", hanging.result.id)

    with pytest.raises(TaskRevokedError):
        service.value(hanging.result)


def test_the_pool_grows_and_shrinks_when_it_is_told_to(service: Service) -> None:
    service.ask("control", "pool_grow", "2")
    wait_until(lambda: len(processes(service)) == 3, "the pool to grow")

    service.ask("control", "pool_shrink", "2")
    wait_until(lambda: len(processes(service)) == 1, "the pool to shrink")


def test_the_pool_is_restarted_when_it_is_told_to(service: Service) -> None:
    before = processes(service)
    service.ask("control", "pool_restart")

    wait_until(lambda: before.isdisjoint(processes(service)), "new processes")
    assert service.value(service.send("hello.greet", "Ada")) == "Hello, Ada!"
