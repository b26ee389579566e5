"""What was accepted is done, and its effect is there once, whatever the broker loses."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery.canvas import Signature
from live_service import PACKAGE, TIMEOUT, Service, kill, running_service, wait_until
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from {{ cookiecutter.__package_slug }}.models import Accepted, Base, Order
from {{ cookiecutter.__package_slug }}.outbox import HEADER, accept
from {{ cookiecutter.__package_slug }}.run_async import run_async

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
TASKS = 100
# How many are delivered several times. After twice as many the worker is killed, and the broker
# loses the others.
SHARE = 10
# A task that is lost is missed soon.
PATIENCE = {
    "TASK_TIME_LIMIT": "5",
    "VISIBILITY_TIMEOUT": "8",
    "TASK_LEASE": "3",
    "OUTBOX_RESEND_AFTER": "6",
}
SERVING = ("-I", "outbox_probe", "-Q", "default")
PROBE = f'''
"""A task that would show it if it had its effect twice."""

import time
from pathlib import Path
from uuid import uuid4

from celery import shared_task

from {{ cookiecutter.__package_slug }}.database import session
from {{ cookiecutter.__package_slug }}.models import Order
from {{ cookiecutter.__package_slug }}.outbox import take
from {{ cookiecutter.__package_slug }}.run_async import run_async


effects = []


@shared_task(name="outbox_probe.order")
def order(number: int) -> None:
    # However late the test kills this worker, there is something left to do.
    while len(effects) == {2 * SHARE} and not Path("killed").exists():
        time.sleep(0.01)
    run_async(_order(number))


async def _order(number: int) -> None:
    async with session() as unit_of_work:
        if await take(unit_of_work):
            unit_of_work.add(Order(reference=uuid4().hex, customer=str(number), cents=1250))
            effects.append(number)
'''


class Database:
    """The one in which the tasks are accepted, and have their effect."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = create_async_engine(url)

    async def change(self, change: Callable[..., None]) -> None:
        async with self.engine.begin() as connection:
            await connection.run_sync(change)

    def accept(self, *signatures: Signature) -> list[str]:
        """Their ids."""

        async def write() -> list[str]:
            async with AsyncSession(self.engine) as unit_of_work, unit_of_work.begin():
                return [accept(unit_of_work, signature) for signature in signatures]

        return run_async(write())

    def effects(self) -> list[int]:
        """The number of each, in order."""

        async def look() -> list[int]:
            async with AsyncSession(self.engine) as unit_of_work:
                return sorted(map(int, await unit_of_work.scalars(select(Order.customer))))

        return run_async(look())

    def accepted(self, *conditions: Any) -> int:
        """How many tasks are not done yet, and fulfil this."""

        async def look() -> int:
            async with AsyncSession(self.engine) as unit_of_work:
                found = select(func.count()).select_from(Accepted).where(*conditions)
                return await unit_of_work.scalar(found) or 0

        return run_async(look())


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    file = f"sqlite+aiosqlite:///{tmp_path}/database.sqlite3"
    database = Database(os.environ.get("TEST_DATABASE_URL", file))
    run_async(database.change(Base.metadata.create_all))
    yield database
    run_async(database.change(Base.metadata.drop_all))
    run_async(database.engine.dispose())


@contextmanager
def relay(service: Service) -> Iterator[None]:
    """One that runs until the end of the block, and then is stopped."""
    command = [sys.executable, "-m", PACKAGE, "outbox", "relay"]
    process = subprocess.Popen(
        command, cwd=service.folder, env=service.environment, start_new_session=True
    )
    try:
        yield
        process.terminate()
        assert process.wait(TIMEOUT) == 0
    finally:
        kill(process)


def send(service: Service, task_id: str, task: str, *args: object) -> None:
    """As a relay does that dies before it can note that."""
    service.sender.send_task(task, args, task_id=task_id, headers={HEADER: True})


def test_nothing_is_lost_with_worker_and_broker_and_nothing_is_done_twice(
    database: Database, tmp_path: Path
) -> None:
    (tmp_path / "outbox_probe.py").write_text(PROBE)
    with running_service(tmp_path, DATABASE_URL=database.url, **PATIENCE) as service:
        order = service.sender.signature("outbox_probe.order")
        ids = database.accept(*(order.clone((number,)) for number in range(TASKS)))
        for number in [*range(SHARE)] * 2:
            send(service, ids[number], "outbox_probe.order", number)
        with relay(service):
            wait_until(lambda: not database.accepted(Accepted.sent == 0), "all to be sent")
            with service.worker(*SERVING) as worker:
                wait_until(lambda: len(database.effects()) >= 2 * SHARE, "some effects")
                kill(worker)
            (tmp_path / "killed").touch()
            assert database.accepted()
            with service.broker_without_its_data(), service.worker(*SERVING):
                wait_until(lambda: not database.accepted(), "all tasks to be done")

    assert database.effects() == list(range(TASKS))


def test_a_dead_letter_keeps_its_row_until_it_is_forgotten(
    database: Database, tmp_path: Path
) -> None:
    absent = str(tmp_path / "absent")
    with running_service(tmp_path, DATABASE_URL=database.url) as service, service.worker():
        (task_id,) = database.accept(service.sender.signature("probe.need", (absent,)))
        send(service, task_id, "probe.need", absent)
        failed = Accepted.error.startswith("FileNotFoundError")
        wait_until(lambda: database.accepted(failed), "the row to say so")

        service.run(sys.executable, "-m", PACKAGE, "dead-letters", "purge", "--yes")
        assert not database.accepted()
