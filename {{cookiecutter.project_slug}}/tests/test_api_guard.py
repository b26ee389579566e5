"""Who may ask the API, how often, and how much."""

from collections.abc import Iterator

import httpx2
import pytest
from api_service import KEY, KEYS, MAX_BODY, serving

ARGUMENTS = {"name": "Ada"}
PATH = "/api/hello/greet"
OF_A_PAGE = {"Origin": "https://two.example", "Access-Control-Request-Method": "POST"}


@pytest.fixture(scope="module")
def strict() -> Iterator[httpx2.Client]:
    with serving(api_rate_limit="2/hour") as client:
        yield client


@pytest.mark.parametrize("key", ["", "wrong", f"{KEY}x", "f\u00fcnf"])
def test_without_the_key_nothing_is_served(api: httpx2.Client, key: str) -> None:
    answer = api.post(PATH, json={}, headers=[(b"X-API-Key", key.encode())])

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "X-API-Key")


@pytest.mark.parametrize("key", KEYS)
def test_each_key_opens(api: httpx2.Client, key: str) -> None:
    assert api.post(PATH, json={}, headers={"X-API-Key": key}).status_code == 422


def test_every_route_but_the_probes_asks_for_the_key(api: httpx2.Client) -> None:
    paths = api.get("/openapi.json").json()["paths"]
    operations = [(path, one) for path, methods in paths.items() for one in methods.values()]

    assert {path for path, one in operations if "security" not in one} == {"/healthz", "/readyz"}


def test_too_many_requests_are_refused_with_when_to_come_again(strict: httpx2.Client) -> None:
    answers = [strict.post(PATH, json={}) for _ in range(3)]
    others = strict.post(PATH, json={}, headers={"X-API-Key": KEYS[1]})

    assert [answer.status_code for answer in [*answers, others]] == [422, 422, 429, 422]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 3600
    assert "2 per 1 hour" in answers[-1].json()["detail"]


def test_guesses_are_limited_too(strict: httpx2.Client) -> None:
    wrong = [{"X-API-Key": f"guess {number}"} for number in range(3)]

    answers = [strict.post(PATH, json={}, headers=headers).status_code for headers in wrong]

    assert answers == [401, 401, 429]


@pytest.mark.parametrize("is_announced", [True, False])
def test_a_body_that_is_too_long_is_refused(api: httpx2.Client, is_announced: bool) -> None:
    body = b'{"name": "' + b"A" * MAX_BODY + b'"}'

    answer = api.post(PATH, content=body if is_announced else iter([body[:20], body[20:]]))

    assert (answer.status_code, answer.json()["status"]) == (413, 413)
    assert "API_MAX_BODY" in answer.json()["detail"]


def test_pages_of_other_origins_may_not_use_it(api: httpx2.Client) -> None:
    assert "access-control-allow-origin" not in api.options(PATH, headers=OF_A_PAGE).headers


def test_pages_of_the_origins_that_are_listed_may_use_it() -> None:
    with serving(api_allowed_origins="https://one.example, https://two.example") as api:
        answer = api.options(PATH, headers=OF_A_PAGE)

    assert answer.headers["access-control-allow-origin"] == OF_A_PAGE["Origin"]
