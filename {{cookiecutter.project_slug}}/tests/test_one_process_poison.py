"""A task of which its worker dies each time is kept after a few deliveries."""

from pathlib import Path

import pytest
from live_service import TIMEOUT, running_service

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
MOST = 2


def test_a_task_that_ends_its_worker_each_time_is_buried(tmp_path: Path) -> None:
    started = tmp_path / "started"
    with running_service(tmp_path, MAX_DELIVERIES=str(MOST)) as service:
        poison = service.send("probe.end_badly", "exit", str(started))
        for _ in range(MOST):
            with service.worker() as dying:
                assert dying.wait(TIMEOUT) == 1
        with service.worker():
            letter = service.dead_letter()
            assert service.value(service.send("hello.greet", "Ada")) == "Hello, Ada!"

    assert (letter["id"], letter["reason"]) == (poison.id, "delivered too often")
    assert len(started.read_text().split()) == MOST
