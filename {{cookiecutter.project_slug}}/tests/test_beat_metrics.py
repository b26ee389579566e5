"""What beat tells Prometheus: how many tasks wait, and that it ticks.

In a file of its own, because a worker of other tests might share the broker and take its tasks.
"""

import subprocess
from pathlib import Path

import pytest
from live_service import CELERY, kill, running_service, wait_until
from scraping import scrape, wait_for

from {{ cookiecutter.__package_slug }}.ports import free_port

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
TICK = "celery_beat_last_tick_timestamp_seconds", ()


def test_beat_tells_what_waits(tmp_path: Path) -> None:
    port = str(free_port())
    with running_service(tmp_path, METRICS_PORT=port) as service:
        for _ in range(3):
            service.send("hello.greet", "Ada")
        beat = subprocess.Popen(
            [*CELERY, "beat", f"--schedule={tmp_path}/schedule", "--pidfile="],
            cwd=service.folder,
            env=service.environment,
            start_new_session=True,
        )
        try:
            found = wait_for(port, "celery_queue_length", "default", value=3)
            wait_until(lambda: TICK in scrape(port), "a tick")
        finally:
            kill(beat)

    assert found["celery_broker_up", ()] == 1
    assert found["celery_dead_letters", ()] == 0
