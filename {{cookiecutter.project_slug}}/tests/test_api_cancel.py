"""Who submitted a job by the API can take it back."""

from pathlib import Path
from typing import Any

import pytest
from live_api import Api
from live_service import Service, wait_until

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


def test_a_job_that_waits_is_dropped(service: Service, live_api: Api, tmp_path: Path) -> None:
    with service.busy(tmp_path):
        job: Any = live_api.client.post("/api/hello/greet", json={"name": "Ada"}).json()

        def is_accepted() -> bool:
            # Where the worker does not answer soon, the API says so, and to try again.
            return live_api.client.post(job["links"]["cancel"]).status_code == 202

        wait_until(is_accepted, "a worker to answer")
        # It was told, but may not have heard it yet.
        wait_until(lambda: job["id"] in str(service.ask("inspect", "revoked")), "it to be revoked")

    def is_cancelled() -> bool:
        return bool(live_api.client.get(job["links"]["self"]).json()["state"] == "cancelled")

    wait_until(is_cancelled, "the job to be cancelled")


def test_a_job_that_nobody_knows_cannot_be_cancelled(live_api: Api) -> None:
    assert live_api.client.post("/api/jobs/unknown/cancel").status_code == 404
