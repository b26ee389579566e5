"""Watchers of the API see what workers do, whichever process they ask, and until it ends."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from live_api import Api, running_api
from live_service import TIMEOUT, Service, wait_until
from test_api_events import watching

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def apis(service: Service) -> Iterator[tuple[Api, Api]]:
    with running_api(service) as one, running_api(service) as other:
        yield one, other


@pytest.fixture
def counting(service: Service, tmp_path: Path) -> Iterator[Any]:
    """A running job of three steps, each of which waits for a file."""
    result = service.send("probe.count", str(tmp_path), "3")
    yield result
    for step in range(1, 4):
        (tmp_path / str(step)).touch()
    assert service.value(result) == 3


def begin(counting: Any, api: Api, folder: Path) -> None:
    """Have it take its first step, by which those know it who did not submit it."""
    (folder / "1").touch()
    path = f"/api/jobs/{counting.id}"
    wait_until(lambda: api.client.get(path).status_code == 200, "the first step")


def test_two_processes_tell_the_same_of_a_job(
    apis: tuple[Api, Api], counting: Any, tmp_path: Path
) -> None:
    told: list[list[Any]] = []
    everybody_watches = threading.Barrier(3, timeout=TIMEOUT)

    def watch(api: Api) -> None:
        with watching(api.client, f"/api/jobs/{counting.id}/events") as seen:
            next(seen)
            everybody_watches.wait()
            told.append([event for event, *_ in seen if event != "state"])

    begin(counting, apis[0], tmp_path)
    watchers = [threading.Thread(target=watch, args=(api,)) for api in apis]
    for watcher in watchers:
        watcher.start()
    everybody_watches.wait()
    for step in ("2", "3"):
        (tmp_path / step).touch()
    for watcher in watchers:
        watcher.join(TIMEOUT)

    assert [steps[-1] for steps in told] == ["done"] * 2


def test_what_one_process_took_the_other_lists(apis: tuple[Api, Api]) -> None:
    one, other = (api.client for api in apis)
    job = one.post("/api/hello/greet?wait=60", json={"name": "Ada"}).json()

    assert job["result"] == "Hello, Ada!"
    assert job in other.get("/api/jobs").json()["jobs"]


def test_one_key_is_one_job_in_all_processes(apis: tuple[Api, Api]) -> None:
    headers = {"Idempotency-Key": "one"}
    jobs = [
        api.client.post("/api/hello/greet?wait=60", json={"name": "Ada"}, headers=headers).json()
        for api in apis
    ]

    assert jobs[0] == jobs[1]


def test_a_stream_ends_with_its_process_which_ends_well(
    service: Service, counting: Any, tmp_path: Path
) -> None:
    with running_api(service) as api:
        begin(counting, api, tmp_path)
        with watching(api.client, f"/api/jobs/{counting.id}/events") as seen:
            next(seen)
            api.process.terminate()
            rest = list(seen)
        assert api.process.wait(TIMEOUT) == 0

    assert "done" not in [event for event, *_ in rest]


def queued(api: Api) -> Any:
    return api.client.get("/api/jobs?state=queued").json()["jobs"]


def test_who_waits_for_a_result_is_answered_before_the_process_ends(
    service: Service, tmp_path: Path
) -> None:
    answers: list[httpx2.Response] = []
    with service.busy(tmp_path), running_api(service) as api:
        path = "/api/hello/greet?wait=60"
        caller = threading.Thread(
            target=lambda: answers.append(api.client.post(path, json={"name": "Ada"}))
        )
        caller.start()
        wait_until(lambda: queued(api), "the submission")
        api.process.terminate()
        caller.join(TIMEOUT)

    assert answers[0].status_code == 202
