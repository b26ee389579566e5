"""Staged orders reach the database, each of them once."""

from collections.abc import Iterator, Sequence

import polars as pl
import pytest
from sqlalchemy import delete, select
from sqlalchemy.exc import OperationalError

from {{ cookiecutter.__package_slug }}.database import session
from {{ cookiecutter.__package_slug }}.jobs import order_import
from {{ cookiecutter.__package_slug }}.models import Order
from {{ cookiecutter.__package_slug }}.run_async import run_async
from {{ cookiecutter.__package_slug }}.storage import replacing
from {{ cookiecutter.__package_slug }}.tasks.order_import import run

pytestmark = pytest.mark.usefixtures("folder", "migrated")


@pytest.fixture(autouse=True)
def _no_orders() -> Iterator[None]:
    async def empty() -> None:
        async with session() as unit_of_work:
            await unit_of_work.execute(delete(Order))

    yield
    run_async(empty())


def stage(references: Sequence[str]) -> str:
    with replacing("staged.parquet") as path:
        pl.DataFrame(
            {
                "reference": list(references),
                "customer": ["ada@example.com"] * len(references),
                "day": ["2026-11-20"] * len(references),
                "cents": range(len(references)),
            }
        ).write_parquet(path)
    return "staged.parquet"


def written() -> dict[str, int]:
    async def read() -> dict[str, int]:
        async with session() as unit_of_work:
            orders = await unit_of_work.scalars(select(Order))
            return {order.reference: order.cents for order in orders}

    return run_async(read())


def test_batches_write_every_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order_import, "BATCH", 2)

    assert run_async(order_import.run(stage("abcde"))) == {"seen": 5, "new": 5}
    assert written() == {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4}


def test_a_second_run_finds_only_what_is_new() -> None:
    run_async(order_import.run(stage("ab")))

    assert run_async(order_import.run(stage("bac"))) == {"seen": 3, "new": 1}
    assert written() == {"a": 0, "b": 1, "c": 2}


def test_an_order_that_is_staged_twice_is_written_once() -> None:
    assert run_async(order_import.run(stage("aa"))) == {"seen": 2, "new": 1}


def test_a_batch_is_no_larger_than_one_statement_of_sqlite() -> None:
    # Some builds take more, so a batch that is written here proves nothing.
    assert order_import.BATCH * len(Order.__table__.columns) <= 32_766


def test_a_file_without_orders_is_no_failure() -> None:
    assert run_async(order_import.run(stage(""))) == {"seen": 0, "new": 0}


def test_a_name_that_leads_out_of_the_shared_folder_is_refused() -> None:
    with pytest.raises(ValueError, match="DATA_DIR"):
        run_async(order_import.run("../staged.parquet"))


@pytest.mark.usefixtures("worker")
def test_workers_that_import_the_same_orders_at_once_write_each_once() -> None:
    staged = stage("abc")
    results = [run.delay(staged) for _ in range(3)]

    assert sum(result.get(timeout=10, interval=0.01)["new"] for result in results) == 3
    assert written() == {"a": 0, "b": 1, "c": 2}


@pytest.mark.usefixtures("worker", "no_pause")
def test_a_database_that_is_away_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import_orders = order_import.run
    attempts: list[str] = []

    async def away_at_first(staged: str) -> order_import.Imported:
        attempts.append(staged)
        if len(attempts) == 1:
            raise OperationalError("INSERT", {}, ConnectionRefusedError())
        return await import_orders(staged)

    monkeypatch.setattr(order_import, "run", away_at_first)

    assert run.delay(stage("ab")).get(timeout=10, interval=0.01) == {"seen": 2, "new": 2}
    assert len(attempts) == 2
