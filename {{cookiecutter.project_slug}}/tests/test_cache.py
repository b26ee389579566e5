"""The cache: what is remembered is not computed again, by a job or by the worker."""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from {{ cookiecutter.__package_slug }}.cache import cache, remember
from {{ cookiecutter.__package_slug }}.run_async import run_async
from {{ cookiecutter.__package_slug }}.tasks.pages import fetch


class Site(HTTPServer):
    """A web site that counts its visitors."""

    visits = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Site)
        self.server.visits += 1
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html><title> Prices </title></html>")

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: the test's output is not a server log."""


@pytest.fixture
def site() -> Iterator[Site]:
    with Site(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _empty_cache() -> None:
    run_async(cache().clear())


def test_a_value_is_computed_once() -> None:
    computed: list[int] = []

    async def compute() -> list[int]:
        computed.append(1)
        return [1, 2]

    for _ in range(2):
        assert run_async(remember("numbers", 60, compute)) == [1, 2]

    assert computed == [1]


def test_a_value_is_forgotten_in_time() -> None:
    async def compute() -> int:
        return 1

    async def wait_until_forgotten() -> None:
        await remember("number", 0.01, compute)
        async with asyncio.timeout(5):
            while await cache().exists("number"):  # noqa: ASYNC110 - it tells nobody when it forgets
                await asyncio.sleep(0.001)

    run_async(wait_until_forgotten())


def test_tasks_share_one_visit(worker: None, site: Site) -> None:
    first = fetch.delay(site.url).get(timeout=10, interval=0.01)
    second = fetch.delay(site.url).get(timeout=10, interval=0.01)

    assert first == second
    assert first["title"] == "Prices"
    assert site.visits == 1
