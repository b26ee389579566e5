"""A task of which its process dies each time is kept after a few deliveries."""

from pathlib import Path

import pytest
from live_service import running_service

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
MOST = 3


@pytest.mark.parametrize("how", ["segfault", "exit", "killed"])
def test_a_task_that_ends_its_process_each_time_is_buried(tmp_path: Path, how: str) -> None:
    started = tmp_path / "started"
    with running_service(tmp_path, MAX_DELIVERIES=str(MOST)) as service, service.worker() as worker:
        poison = service.send("probe.end_badly", how, str(started))
        with pytest.raises(Exception, match=f"{MOST} times"):
            service.value(poison)
        letter = service.dead_letter()
        assert service.value(service.send("hello.greet", "Ada")) == "Hello, Ada!"
        assert worker.poll() is None

    assert (letter["id"], letter["reason"]) == (poison.id, "delivered too often")
    assert len(started.read_text().split()) == MOST
