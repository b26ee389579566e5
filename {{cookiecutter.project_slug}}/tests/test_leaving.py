"""No task is lost with its worker, whether it is stopped or killed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_service import TIMEOUT, Service, kill, running_service

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Without a worker, and soon ready to hand a task to another one."""
    patience = {"TASK_TIME_LIMIT": "1", "VISIBILITY_TIMEOUT": "5"}
    with running_service(tmp_path_factory.mktemp("idle"), **patience) as service:
        yield service


def test_a_worker_that_is_stopped_finishes_what_it_runs(idle: Service, tmp_path: Path) -> None:
    hanging = idle.hang(tmp_path / "hanging", time_limit=TIMEOUT)
    with idle.worker() as leaving:
        hanging.wait_for_run()
        leaving.terminate()
        hanging.end()
        assert leaving.wait(TIMEOUT) == 0

    assert idle.value(hanging.result) is None
    assert len(hanging.runs()) == 1


def test_a_task_whose_worker_is_killed_runs_again(idle: Service, tmp_path: Path) -> None:
    hanging = idle.hang(tmp_path / "hanging", time_limit=TIMEOUT)
    with idle.worker() as worker:
        hanging.wait_for_run()
        kill(worker)
    with idle.worker():
        hanging.wait_for_run(2)
        hanging.end()
        assert idle.value(hanging.result) is None
