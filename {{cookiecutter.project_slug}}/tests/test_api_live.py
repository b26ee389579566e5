"""The API as it runs in production: a process of its own, beside a broker and a worker."""

from pathlib import Path
from typing import Any

import pytest
from celery.result import AsyncResult
from live_api import Api, running_api
from live_service import Service, running_service

from {{ cookiecutter.__package_slug }}.settings import BROKER_SCHEMES

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


def submitted(api: Api) -> Any:
    return api.client.post("/api/hello/greet", json={"name": "Ada"})


def test_a_job_that_is_submitted_over_http_is_done_by_a_worker(
    service: Service, live_api: Api
) -> None:
    answer = submitted(live_api)

    assert answer.status_code == 202
    result: AsyncResult[str] = AsyncResult(answer.json()["id"], app=service.sender)
    assert service.value(result) == "Hello, Ada!"


def test_the_service_is_seen_as_a_whole(service: Service, live_api: Api, tmp_path: Path) -> None:
    with service.busy(tmp_path):
        seen = live_api.client.get("/api/service").json()

    assert seen["queues"].keys() == {"default", "io", "cpu"}
    assert seen["dead_letters"] == 0


def test_without_its_broker_it_refuses_jobs_and_is_not_ready(tmp_path: Path) -> None:
    nowhere = {"CELERY_BROKER_URL": f"{BROKER_SCHEMES[0]}://127.0.0.1:1"}
    with running_service(tmp_path, **nowhere) as service, running_api(service) as api:
        answers = [submitted(api), api.client.get("/readyz"), api.client.get("/api/service")]
        alive = api.client.get("/healthz")

    assert [answer.status_code for answer in answers] == [503] * 3
    assert {answer.headers["retry-after"] for answer in answers} == {"1"}
    assert alive.status_code == 200


def test_a_job_that_was_accepted_by_a_process_that_ends_is_done(service: Service) -> None:
    with running_api(service) as api:
        job_id = submitted(api).json()["id"]
    result: AsyncResult[str] = AsyncResult(job_id, app=service.sender)

    assert service.value(result) == "Hello, Ada!"
