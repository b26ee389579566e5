"""The API takes jobs: each task has a route that accepts what its function does."""

import re
import threading
from queue import Queue
from typing import Any

import httpx2
import pytest
from api_service import AWAY, REACH, SEND, task_names
from structlog.contextvars import get_contextvars

from {{ cookiecutter.__package_slug }} import tasks
from {{ cookiecutter.__package_slug }}.api.look import Look
from {{ cookiecutter.__package_slug }}.api.offered import PATHS, offers
from {{ cookiecutter.__package_slug }}.jobs import hello
from {{ cookiecutter.__package_slug }}.queues import ROUTES

# Half of a pair, which JSON can hold and no encoding has.
SURROGATE = b'{"name": "\\ud800"}'
JSON = {"Content-Type": "application/json"}

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def description(api: httpx2.Client) -> Any:
    return api.get("/openapi.json").json()


def test_a_job_that_is_submitted_runs(api: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = threading.Event()
    monkeypatch.setattr(hello, "greet", lambda name: ran.set())

    answer = api.post("/api/hello/greet", json={"name": "Ada"})

    assert (answer.status_code, answer.json()["task"]) == (202, "hello.greet")
    assert ran.wait(10)


def test_a_job_is_marked_with_the_id_of_its_request(
    api: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    marks: Queue[str] = Queue()
    monkeypatch.setattr(hello, "greet", lambda name: marks.put(get_contextvars()["correlation_id"]))

    answer = api.post("/api/hello/greet", json={"name": "Ada"}, headers={"X-Request-ID": "from-7"})

    assert answer.headers["x-request-id"] == "from-7"
    assert marks.get(timeout=10) == "from-7"


@pytest.mark.parametrize("given", ["", "two words", "x" * 101, "\u00e9"])
def test_an_id_that_is_none_is_replaced(api: httpx2.Client, given: str) -> None:
    answer = api.get("/healthz", headers={b"X-Request-ID": given.encode()})

    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


def test_each_task_has_a_route(description: Any) -> None:
    known = {name for name in task_names() if f"{name.partition('.')[0]}.*" in ROUTES}
    posts = [one["post"]["operationId"] for one in description["paths"].values() if "post" in one]

    # It takes the exception of another task, which no caller has.
    assert known - set(posts) <= {"failures.report"}
    assert PATHS.keys() <= known


def test_a_new_task_gets_a_route_from_its_signature() -> None:
    # Under its own name a model has attributes such as `copy`.
    def send_many(copy: list[int], json: str = "x", *, model_config: bool = False) -> None:
        """Send many. Or none."""

    send_many.__module__ = f"{tasks.__name__}.more"
    (offer,) = offers({"more.send_many": send_many})

    values = offer.arguments.model_validate({"copy": [1]}).model_dump(by_alias=True)
    assert (offer.path, offer.summary) == ("more/send-many", "Send many. Or none.")
    assert values == {"copy": [1], "json": "x", "model_config": False}


def test_everything_that_is_wrong_with_a_request_is_told_at_once(api: httpx2.Client) -> None:
    answer = api.post("/api/hello/greet", json={"nam": "Ada", "more": 1})

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == ["name", "nam", "more"]


@pytest.mark.parametrize(
    "body", [b"", b"[", b"[]", b"null", b"{}", b'{"name": NaN}', b"\xff", SURROGATE]
)
def test_a_body_that_is_no_job_is_a_problem_of_the_caller(api: httpx2.Client, body: bytes) -> None:
    answer = api.post("/api/hello/greet", content=body, headers=JSON)

    assert answer.status_code in (400, 422)
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/x", 404), ("PUT", "/healthz", 405)]
)
def test_what_is_not_there_is_a_problem_too(
    api: httpx2.Client, method: str, path: str, status: int
) -> None:
    answer = api.request(method, path)

    assert (answer.status_code, answer.json()["status"]) == (status, status)


def test_an_error_of_the_service_tells_a_caller_nothing(
    api: httpx2.Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(*SEND, fail)

    answer = api.post("/api/hello/greet", json={"name": "Ada"})

    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Zero" not in answer.text


def test_what_takes_jobs_and_is_away_is_told_with_when_to_come_again(
    api: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AWAY

    monkeypatch.setattr(*SEND, fail)

    answer = api.post("/api/hello/greet", json={"name": "Ada"})

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "Try again" in answer.json()["detail"]


@pytest.fixture
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker is asked each time."""
    monkeypatch.setattr(Look, "_is_fresh", lambda look: False)


@pytest.mark.usefixtures("forgetful")
def test_it_is_alive_and_ready(api: httpx2.Client) -> None:
    assert api.get("/healthz").json() == {"status": "alive"}
    assert api.get("/readyz").json() == {"status": "ready"}


@pytest.mark.usefixtures("forgetful")
def test_it_is_not_ready_without_what_takes_jobs(
    api: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AWAY

    monkeypatch.setattr(*REACH, fail)

    answers = [api.get("/readyz"), api.get("/healthz")]

    assert [answer.status_code for answer in answers] == [503, 200]
    assert answers[0].headers["retry-after"] == "1"


def test_the_description_has_examples_and_problems(description: Any) -> None:
    greet = description["paths"]["/api/hello/greet"]["post"]
    schemas = description["components"]["schemas"]

    assert schemas["HelloGreetArguments"]["examples"] == [{"name": "Ada"}]
    assert {"401", "413", "422", "429", "503"} <= greet["responses"].keys()
    assert "application/problem+json" in greet["responses"]["503"]["content"]


@pytest.mark.parametrize("path", ["/", "/page.css", "/page.js", "/icon.svg"])
def test_the_page_needs_no_key_and_may_load_nothing_from_elsewhere(
    api: httpx2.Client, path: str
) -> None:
    answer = api.get(path, headers={"X-API-Key": ""})

    assert answer.status_code == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "https://" not in answer.text
