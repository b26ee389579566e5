"""Who submitted a job by the API can take it back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_api import Api, running_api
from live_service import Service, running_service, wait_until

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service")) as service, service.worker():
        yield service


@pytest.fixture(scope="module")
def api(service: Service) -> Iterator[Api]:
    with running_api(service) as api:
        yield api


def test_a_job_that_waits_is_dropped(service: Service, api: Api, tmp_path: Path) -> None:
    with service.busy(tmp_path):
        job: Any = api.client.post("/api/hello/greet", json={"name": "Ada"}).json()
        assert api.client.post(job["links"]["cancel"]).status_code == 202

    def is_cancelled() -> bool:
        return bool(api.client.get(job["links"]["self"]).json()["state"] == "cancelled")

    wait_until(is_cancelled, "the job to be cancelled")


def test_a_job_that_nobody_knows_cannot_be_cancelled(api: Api) -> None:
    assert api.client.post("/api/jobs/unknown/cancel").status_code == 404
