"""Remote control of the gevent pool: a running task is ended."""

from pathlib import Path

import pytest
from celery.exceptions import TaskRevokedError
from live_service import Service

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


def test_a_running_task_can_be_terminated(service: Service, tmp_path: Path) -> None:
    hanging = service.hang(tmp_path / "hanging")
    hanging.wait_for_run()
    service.ask("control", "terminate", "SIGKILL", hanging.result.id)

    with pytest.raises(TaskRevokedError):
        service.value(hanging.result)
