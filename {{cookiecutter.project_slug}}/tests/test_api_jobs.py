"""What the API says of jobs: how they are, what came of them, and which there are."""

from threading import Event
from typing import Any

import httpx2
import pytest
from api_service import AWAY, SEND, forget_all

from {{ cookiecutter.__package_slug }}.jobs import hello

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture(autouse=True)
def forgetful(api: httpx2.Client) -> None:
    """Nothing was submitted yet."""
    forget_all()


def submit(api: httpx2.Client, wait: float = 10, key: str | None = None) -> httpx2.Response:
    path = f"/api/hello/greet?wait={wait}"
    return api.post(path, json={"name": "Ada"}, headers={"Idempotency-Key": key} if key else {})


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr(hello, "greet", fail)


def test_who_waits_gets_the_result(api: httpx2.Client) -> None:
    answer = submit(api)

    assert answer.status_code == 200
    assert (answer.json()["state"], answer.json()["result"]) == ("succeeded", "Hello, Ada!")


def test_who_waits_too_short_a_time_gets_the_job(
    api: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = Event()
    monkeypatch.setattr(hello, "greet", lambda name: may_end.wait(10))

    answer = submit(api, wait=0.1)
    may_end.set()

    assert answer.status_code == 202
    assert answer.json()["state"] in ("queued", "running")


def test_a_job_is_where_its_submission_said(api: httpx2.Client) -> None:
    submitted = submit(api)

    assert api.get(submitted.headers["location"]).json() == submitted.json()


@pytest.mark.usefixtures("failing")
def test_a_failure_has_its_reason_and_no_traceback(api: httpx2.Client) -> None:
    job = submit(api).json()

    assert (job["state"], job["error"]) == ("failed", {"type": "KeyError", "message": "Ada"})
    assert "Traceback" not in str(job)


@pytest.mark.parametrize("path", ["", "/events"])
def test_a_job_that_nobody_knows_is_not_found(api: httpx2.Client, path: str) -> None:
    assert api.get(f"/api/jobs/unknown{path}").status_code == 404


def test_recent_jobs_are_listed_page_by_page_the_latest_first(api: httpx2.Client) -> None:
    ids = [submit(api).json()["id"] for _ in range(5)]

    first = api.get("/api/jobs?limit=3").json()
    second = api.get(f"/api/jobs?limit=3&after={first['next']}").json()

    assert [job["id"] for job in first["jobs"] + second["jobs"]] == ids[::-1]
    assert second["next"] is None


@pytest.mark.parametrize(
    ("query", "count"),
    [("state=succeeded", 1), ("state=failed", 0), ("task=hello.greet", 1), ("task=x", 0)],
)
def test_the_list_can_be_narrowed(api: httpx2.Client, query: str, count: int) -> None:
    submit(api)

    assert len(api.get(f"/api/jobs?{query}").json()["jobs"]) == count


def test_jobs_of_a_group_are_counted_by_state(api: httpx2.Client) -> None:
    submit(api)

    assert api.get("/api/hello/stats").json() == {"jobs": {"succeeded": 1}}


def test_the_same_key_again_is_the_same_job(api: httpx2.Client) -> None:
    first, second = (submit(api, key="one") for _ in range(2))

    assert first.json() == second.json()
    assert len(api.get("/api/jobs").json()["jobs"]) == 1


def test_a_key_cannot_stand_for_two_requests(api: httpx2.Client) -> None:
    submit(api, key="one")
    headers = {"Idempotency-Key": "one"}

    assert api.post("/api/hello/greet", json={"name": "Bob"}, headers=headers).status_code == 422


def test_a_key_whose_request_failed_can_be_used_again(
    api: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AWAY

    with monkeypatch.context() as patch:
        patch.setattr(*SEND, fail)
        assert submit(api, key="one").status_code == 503

    assert submit(api, key="one").json()["result"] == "Hello, Ada!"


def test_a_key_that_is_being_served_has_to_wait(
    api: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = getattr(*SEND)
    answers: list[httpx2.Response] = []

    def send_meanwhile(*arguments: Any, **options: Any) -> Any:
        if not answers:
            answers.append(submit(api, wait=0, key="one"))
        return send(*arguments, **options)

    monkeypatch.setattr(*SEND, send_meanwhile)

    assert submit(api, key="one").status_code == 200
    assert (answers[0].status_code, answers[0].headers["retry-after"]) == (409, "1")
