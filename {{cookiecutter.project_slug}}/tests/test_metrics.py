"""What Prometheus reads adds up to what happened, in whichever process it did."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
#{% if cookiecutter.include_api %}
from live_api import running_api
#{% endif %}
from live_service import CELERY, TIMEOUT, Service, running_service
from scraping import lasting, scrape, wait_for

from {{ cookiecutter.__package_slug }}.ports import free_port

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

OWN = '''
"""A task with a metric of its own."""

from celery import shared_task
from prometheus_client import Counter

READ = Counter("shop_orders_read", "Orders read.", ["source"])


@shared_task(name="shop.read")
def read(orders: int) -> None:
    READ.labels("file").inc(orders)
'''


@pytest.fixture(scope="module")
def port() -> str:
    return str(free_port())


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory, port: str) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("measured")
    (folder / "shop.py").write_text(OWN)
    settings = {"METRICS_PORT": port, "WORKER_CONCURRENCY": "2"}
    with running_service(folder, **settings) as service, service.worker("-I", "probe,shop"):
        service.value(service.send("hello.greet", "Ada"))
        yield service


def test_each_outcome_is_counted_once(measured: Service, port: str, tmp_path: Path) -> None:
    before = scrape(port)
    service = measured
    service.value(service.send("probe.fail_once", str(tmp_path / "mark")))
    service.send("probe.end_badly", "LookupError", str(tmp_path / "started"))
    service.dead_letter()

    names = [f"{name}_total" for name in ("received", "started", "succeeded", "retried")]
    names += ["dead_lettered_total", "runtime_count", "queue_wait_time_count"]
    expected = {"fail_once": [2, 2, 1, 1, 0, 1, 2], "end_badly": [1, 1, 0, 0, 1, 0, 1], "failed": 1}

    def counted() -> dict[str, Any]:
        after = scrape(port)

        def risen(name: str, task: str, *more: str) -> float:
            key = (f"celery_task_{name}", (*more, f"probe.{task}", "default"))
            return after.get(key, 0) - before.get(key, 0)

        return {
            "fail_once": [risen(name, "fail_once") for name in names],
            "end_badly": [risen(name, "end_badly") for name in names],
            "failed": risen("failed_total", "end_badly", "LookupError"),
        }

    # A result, or a dead letter, may be there a moment before it is counted.
    assert lasting(counted, expected) == expected


def test_a_metric_of_ones_own_counts_in_every_process(measured: Service, port: str) -> None:
    for result in [measured.send("shop.read", 3) for _ in range(8)]:  # type: ignore[arg-type]
        measured.value(result)

    wait_for(port, "shop_orders_read_total", "file", value=24)
#{% if cookiecutter.__worker_pool == "prefork" %}


def test_a_run_that_was_lost_with_its_process_is_counted(
    measured: Service, port: str, tmp_path: Path
) -> None:
    measured.send("probe.end_badly", "killed", str(tmp_path / "started"))

    # It is delivered five times, and a dead letter after that.
    measured.dead_letter()
    wait_for(port, "celery_task_rejected_total", "probe.end_badly", "default", value=5)
#{% endif %}
#{% if cookiecutter.__worker_pool != "threads" %}


def test_a_run_that_takes_too_long_is_one_failure(
    measured: Service, port: str, tmp_path: Path
) -> None:
    measured.hang(tmp_path, time_limit=1)
    measured.dead_letter()
    failed = "celery_task_failed_total", ("TimeLimitExceeded", "probe.hang", "default")
    dead = "celery_task_dead_lettered_total", ("probe.hang", "default")

    def counted() -> list[float | None]:
        found = scrape(port)
        return [found.get(failed), found.get(dead)]

    assert lasting(counted, [1, 1]) == [1, 1]
#{% endif %}
#{% if cookiecutter.__worker_pool != "threads" and cookiecutter.__broker != "sqs" %}


def test_a_run_that_was_ended_is_no_success(measured: Service, port: str, tmp_path: Path) -> None:
    hanging = measured.hang(tmp_path)
    hanging.wait_for_run()
    measured.ask("control", "terminate", "SIGKILL", hanging.result.id)
    # Its place is free again.
    measured.value(measured.send("hello.greet", "Ada"))

    def counted() -> list[float | None]:
        found = scrape(port)
        names = [f"celery_task_{name}_total" for name in ("revoked", "succeeded")]
        active = [value for key, value in found.items() if key[0] == "celery_worker_tasks_active"]
        return [*(found.get((name, ("probe.hang", "default"))) for name in names), *active]

    assert lasting(counted, [1, 0, 0]) == [1, 0, 0]
#{% endif %}


def test_a_port_that_is_taken_is_named(measured: Service, port: str) -> None:
    ran = subprocess.run(
        [*CELERY, "worker"{{ cookiecutter._pools[cookiecutter.worker_pool].argument }}, "-n", "second@localhost"],
        cwd=measured.folder,
        env=measured.environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )

    assert ran.returncode != 0
    assert f"METRICS_PORT={port}: " in ran.stderr
#{% if cookiecutter.include_api %}


def test_requests_are_counted_by_what_was_declared(measured: Service) -> None:
    port = str(free_port())
    with running_api(measured, METRICS_PORT=port) as api:
        api.client.post("/api/hello/greet", json={"name": "Ada"}).raise_for_status()
        api.client.request("NONSENSE", "/api/no-such-route")
        found = scrape(port)

    # In the order of the labels' names: handler, method, status.
    assert found["http_requests_total", ("/api/hello/greet", "POST", "202")] == 1
    assert sum(value for (name, _), value in found.items() if name == "http_requests_total") > 1
    assert not any("NONSENSE" in labels or "no-such" in str(labels) for _, labels in found)
    assert found["celery_task_sent_total", ("hello.greet", "default")] == 1
#{% endif %}
