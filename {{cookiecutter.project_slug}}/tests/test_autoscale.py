"""A worker with `--autoscale` has as many processes as it has work."""

import pytest
from live_service import WORKER, running_service, wait_until

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


def test_a_worker_with_autoscale_grows_with_its_work(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    # Seconds after which Celery lets go of a process that has nothing to do; 30 unless it is told.
    patience = {"AUTOSCALE_KEEPALIVE": "1"}
    with (
        running_service(tmp_path_factory.mktemp("autoscale"), **patience) as service,
        service.worker("--autoscale=3,1"),
    ):

        def processes() -> set[int]:
            return set(service.ask("inspect", "stats")[WORKER]["pool"]["processes"])

        tasks = [service.hang(service.folder / str(number)) for number in range(3)]
        for task in tasks:
            task.wait_for_run()
        assert len(processes()) == 3

        for task in tasks:
            task.end()
        for task in tasks:
            service.value(task.result)
        wait_until(lambda: len(processes()) == 1, "the pool to shrink")
