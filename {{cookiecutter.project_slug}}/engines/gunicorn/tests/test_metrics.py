"""What Prometheus reads adds up to what happened, in whichever process it did."""

from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from live_service import TIMEOUT, Live, running, wait_until
from prometheus_client.parser import text_string_to_metric_families

from {{ cookiecutter.__package_slug }}.dev import free_port
from {{ cookiecutter.__package_slug }}.settings import settings

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

Samples = dict[tuple[str, tuple[str, ...]], float]


def scrape(port: str) -> Samples:
    """Name and values of the labels, in the order of the labels' names -> value."""
    connection = HTTPConnection("127.0.0.1", int(port), timeout=TIMEOUT)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


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
    wait_until(live.has_all_workers, "all workers")
    after = scrape(port)

    def risen(name: str, task: str, *more: str) -> float:
        labels = (*more, f"trial.{task}", "default")
        key = (f"celery_task_{name}", labels)
        return after.get(key, 0) - before.get(key, 0)

    names = ("received", "started", "succeeded", "rejected", "dead_lettered")
    assert [risen(f"{name}_total", "last") for name in names] == [1, 1, 1, 0, 0]
    assert [risen(f"{name}_total", "hang") for name in names] == [1, 1, 0, 0, 1]
    runs = settings.max_deliveries
    assert [risen(f"{name}_total", "die") for name in names] == [runs, runs, 0, runs, 1]
    assert risen("revoked_total", "last") == 1
    assert risen("failed_total", "hang", "TimeLimitExceeded") == 1
    assert risen("runtime_count", "last") == 1
