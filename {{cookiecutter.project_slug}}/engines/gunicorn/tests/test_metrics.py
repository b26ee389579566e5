"""What Prometheus reads adds up to what happened, in whichever process it did."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_service import Live, running, wait_until
from scraping import lasting, scrape

from {{ cookiecutter.__package_slug }}.ports import free_port
from {{ cookiecutter.__package_slug }}.settings import settings

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def port() -> str:
    return str(free_port())


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, port: str) -> Iterator[Live]:
    with running(tmp_path_factory.mktemp("live"), METRICS_PORT=port) as live:
        yield live


def test_each_outcome_is_counted_once(live: Live, port: str, tmp_path: Path) -> None:
    before = scrape(port)
    done = live.submit("trial.last", seconds=0, diary=str(tmp_path / "diary"))
    late = live.board.submit("trial.last", {}, "default", 10_000, expires=-1)
    for job in (done, late, live.submit("trial.hang"), live.submit("trial.die")):
        live.ended(job)
    # Who notices that a process is gone may be another one than who ended its job.
    wait_until(live.has_all_workers, "all workers")

    names = ("received", "started", "succeeded", "rejected", "dead_lettered", "revoked")
    runs = settings.max_deliveries
    expected = {
        "last": [1, 1, 1, 0, 0, 1],
        "hang": [1, 1, 0, 0, 1, 0],
        "die": [runs, runs, 0, runs, 1, 0],
        "last, timed": 1,
        "hang, failed": 1,
    }

    def counted() -> dict[str, Any]:
        after = scrape(port)

        def risen(name: str, task: str, *more: str) -> float:
            key = (f"celery_task_{name}", (*more, f"trial.{task}", "default"))
            return after.get(key, 0) - before.get(key, 0)

        found: dict[str, Any] = {
            task: [risen(f"{name}_total", task) for name in names]
            for task in ("last", "hang", "die")
        }
        found["last, timed"] = risen("runtime_count", "last")
        found["hang, failed"] = risen("failed_total", "hang", "TimeLimitExceeded")
        return found

    # An end is written down first, and counted a moment later.
    assert lasting(counted, expected) == expected
