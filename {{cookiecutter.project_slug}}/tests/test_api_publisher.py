"""Sending tasks for many callers at a time, over a few connections."""

import asyncio
import threading

from kombu.exceptions import OperationalError

from {{ cookiecutter.__package_slug }}.api.publisher import Publisher
from {{ cookiecutter.__package_slug }}.celery import app


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
