"""Migrations, sessions and the jobs that write: nothing twice, nothing before its time."""

import asyncio
import uuid

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import func, select

from {{ cookiecutter.__package_slug }}.database import after_commit, session
from {{ cookiecutter.__package_slug }}.jobs import orders
from {{ cookiecutter.__package_slug }}.models import Order
from {{ cookiecutter.__package_slug }}.run_async import run_async
from {{ cookiecutter.__package_slug }}.tasks.orders import record

pytestmark = pytest.mark.usefixtures("migrated")


@pytest.fixture
def order() -> orders.NewOrder:
    return {"reference": uuid.uuid4().hex, "customer": "ada@example.com", "cents": 1250}


async def count(reference: str) -> int:
    async with session() as unit_of_work:
        found = select(func.count()).where(Order.reference == reference)
        return await unit_of_work.scalar(found) or 0


def test_migrations_make_the_tables_that_the_models_describe(migrated: Config) -> None:
    command.check(migrated)


def test_recording_an_order_twice_writes_it_once_and_confirms_it_twice(
    order: orders.NewOrder,
) -> None:
    confirmed: list[str] = []
    for _ in range(2):
        run_async(orders.record(order, confirm=lambda: confirmed.append("confirmed")))

    assert run_async(count(order["reference"])) == 1
    assert confirmed == ["confirmed", "confirmed"]


def test_tasks_that_write_the_same_order_at_once_write_it_once(
    worker: None, order: orders.NewOrder
) -> None:
    results = [record.delay(**order) for _ in range(4)]

    assert sorted(result.get(timeout=10, interval=0.01) for result in results) == [
        False,
        False,
        False,
        True,
    ]
    assert run_async(count(order["reference"])) == 1


def test_what_waits_for_the_commit_sees_the_row(order: orders.NewOrder) -> None:
    seen: list[int] = []
    run_async(
        orders.record(order, confirm=lambda: seen.append(run_async(count(order["reference"]))))
    )

    assert seen == [1]


def test_a_rolled_back_unit_of_work_leaves_nothing_and_calls_nobody(order: orders.NewOrder) -> None:
    called: list[str] = []

    async def fail() -> None:
        async with session() as unit_of_work:
            await orders.insert_new(unit_of_work, [order])
            after_commit(unit_of_work, lambda: called.append("too early"))
            raise asyncio.InvalidStateError

    with pytest.raises(asyncio.InvalidStateError):
        run_async(fail())

    assert run_async(count(order["reference"])) == 0
    assert called == []
