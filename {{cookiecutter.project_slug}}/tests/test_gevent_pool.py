"""The gevent pool: named on the command line, ended at a hard limit, and never forgetful."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.exceptions import TimeLimitExceeded
from live_service import CELERY, TIMEOUT, Service, running_service

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
SIZE = 200


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with running_service(folder, WORKER_CONCURRENCY=str(SIZE)) as service:
        yield service


@pytest.mark.parametrize("options", [[], ["-Pgevent"], ["--pool=threads"]])
def test_a_worker_that_is_not_patched_in_time_does_not_start(
    service: Service, options: list[str]
) -> None:
    worker = subprocess.run(
        [*CELERY, "worker", *options],
        env=service.environment,
        stderr=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT,
    )

    assert worker.returncode == 1
    assert "worker --pool gevent" in worker.stderr


def test_two_hundred_tasks_run_at_once(service: Service, tmp_path: Path) -> None:
    tasks = [service.hang(tmp_path / str(number)) for number in range(SIZE)]
    with service.worker():
        for task in tasks:
            task.wait_for_run()
        for task in tasks:
            task.end()
        assert [service.value(task.result) for task in tasks] == [None] * SIZE


def test_a_task_is_ended_at_its_time_limit(service: Service, tmp_path: Path) -> None:
    hanging = service.hang(tmp_path / "hanging", time_limit=0.5)
    with service.worker(), pytest.raises(TimeLimitExceeded):
        service.value(hanging.result)
    letter = service.dead_letter()
    assert (letter["id"], letter["error"]) == (hanging.result.id, "TimeLimitExceeded(0.5)")
