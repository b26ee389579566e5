"""The process that serves the API: it has a key, and sends for many callers at a time."""

import asyncio
import threading

import pytest
from kombu.exceptions import OperationalError
from typer.testing import CliRunner

from {{ cookiecutter.__package_slug }} import cli
from {{ cookiecutter.__package_slug }}.api.publisher import Publisher
from {{ cookiecutter.__package_slug }}.celery import app
from {{ cookiecutter.__package_slug }}.settings import Settings


def test_one_failure_refuses_all_who_wait_for_the_same_broker() -> None:
    tried: list[int] = []
    may_end = threading.Event()

    def hang() -> None:
        tried.append(1)
        assert may_end.wait(10)
        raise OperationalError("away")

    async def refused() -> list[BaseException | None]:
        publisher = Publisher()
        callers = [asyncio.create_task(publisher.run(hang)) for _ in range(3 * most)]
        # Each of them gets as far as it can; nothing of that waits for the broker.
        await asyncio.sleep(0)
        may_end.set()
        found = await asyncio.gather(*callers, return_exceptions=True)
        publisher.close()
        return found

    most = app.conf.broker_pool_limit - 1
    errors = asyncio.run(refused())

    assert [getattr(error, "status_code", error) for error in errors] == [503] * 3 * most
    assert len(tried) == most


def test_the_command_does_not_start_without_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    without_key = Settings(_env_file=None, api_key="")
    monkeypatch.setattr("{{ cookiecutter.__package_slug }}.api.server.settings", without_key)

    assert "API_KEY" in str(CliRunner().invoke(cli.app, ["api"]).exception)
