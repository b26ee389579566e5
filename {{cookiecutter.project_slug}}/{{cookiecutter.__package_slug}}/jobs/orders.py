"""Write orders into the database: once, however often the job runs."""

from collections.abc import Callable, Sequence
from typing import TypedDict

from sqlalchemy.ext.asyncio import AsyncSession

from ..database import INSERTS, after_commit, session
from ..models import Order


class NewOrder(TypedDict):
    reference: str
    customer: str
    cents: int


async def record(order: NewOrder, confirm: Callable[[], object]) -> bool:
    """Write an order and have it confirmed; False when it was there already.

    It is confirmed then too: the run that wrote it may have died before it could.
    """
    async with session() as unit_of_work:
        after_commit(unit_of_work, confirm)
        return await insert_new(unit_of_work, [order]) == 1


async def insert_new(unit_of_work: AsyncSession, orders: Sequence[NewOrder]) -> int:
    """Insert the orders whose reference is not there yet, and count them.

    The unique key decides, in the database: two workers with the same order cannot both write it.
    """
    insert = INSERTS[unit_of_work.get_bind().dialect.name](Order)
    unknown = insert.values(list(orders)).on_conflict_do_nothing(index_elements=["reference"])
    written = await unit_of_work.scalars(unknown.returning(Order.id))
    return len(written.all())
