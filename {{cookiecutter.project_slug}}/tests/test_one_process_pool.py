"""The pool of {{ cookiecutter.__worker_pool }}: many tasks at a time in one process, none lost when it stops."""

from collections.abc import Iterator

import pytest
from live_service import TIMEOUT, Service, running_service

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
SIZE = 10


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with running_service(folder, WORKER_CONCURRENCY=str(SIZE)) as service:
        yield service


def test_as_many_tasks_run_at_once_as_the_pool_holds_and_all_finish_when_it_stops(
    service: Service,
) -> None:
    tasks = [service.hang(service.folder / str(number)) for number in range(SIZE)]
    with service.worker() as leaving:
        processes = {task.wait_for_run() for task in tasks}
        leaving.terminate()
        for task in tasks:
            task.end()
        assert leaving.wait(TIMEOUT) == 0

    assert processes == {leaving.pid}
    assert [service.value(task.result) for task in tasks] == [None] * SIZE
    assert [len(task.runs()) for task in tasks] == [1] * SIZE
