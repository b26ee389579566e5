"""Leases in the database: what one holder has until it ends it or stops renewing it."""

from datetime import timedelta
from uuid import uuid4

from sqlalchemy import ColumnElement, Double, delete, literal_column, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from . import models
from .database import INSERTS, session
from .run_async import run_async

# The database is away, or busy with others for too long.
AWAY = (OperationalError,)
# Seconds since 1970 by the database's clock, because those of several machines differ.
NOW = {
    "postgresql": "extract(epoch from clock_timestamp())",
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
}
# How many rows that are over are deleted at a time.
SWEEP = 100


class Lease:
    """A row whose time is over counts as none."""

    def __init__(self, name: str, seconds: float) -> None:
        self._name, self._seconds = name, seconds
        self._owner = uuid4().hex

    def take(self) -> bool:
        return run_async(self._take())

    def renew(self) -> bool:
        """False when somebody else has it, or had it."""
        return run_async(self._renew())

    def end(self) -> None:
        """Leaves it alone when somebody else has it by now."""
        run_async(self._end())

    async def _take(self) -> bool:
        async with session() as unit_of_work:
            return await _put(unit_of_work, self._name, self._owner, None, self._seconds)

    async def _renew(self) -> bool:
        mine = models.Lease.name == self._name, models.Lease.owner == self._owner
        async with session() as unit_of_work:
            later = _now(unit_of_work) + self._seconds
            renew = update(models.Lease).where(*mine).values(expires_at=later)
            return await unit_of_work.scalar(renew.returning(models.Lease.name)) is not None

    async def _end(self) -> None:
        mine = models.Lease.name == self._name, models.Lease.owner == self._owner
        async with session() as unit_of_work:
            await unit_of_work.execute(delete(models.Lease).where(*mine))


def keep(name: str, value: str, window: timedelta) -> None:
    run_async(_keep(name, value, window.total_seconds()))


def kept(name: str) -> str | None:
    """What is kept under this name, and not too old."""
    return run_async(_kept(name))


async def _keep(name: str, value: str, seconds: float) -> None:
    async with session() as unit_of_work:
        await _put(unit_of_work, name, "", value, seconds)
        # Nobody else deletes what nobody asks for again. Two that do so must not wait for each
        # other, which could end in a deadlock.
        over = select(models.Lease.name).where(models.Lease.expires_at < _now(unit_of_work))
        some = over.limit(SWEEP).with_for_update(skip_locked=True)
        await unit_of_work.execute(delete(models.Lease).where(models.Lease.name.in_(some)))


async def _kept(name: str) -> str | None:
    async with session() as unit_of_work:
        is_there = models.Lease.name == name, models.Lease.expires_at >= _now(unit_of_work)
        return await unit_of_work.scalar(select(models.Lease.value).where(*is_there))


async def _put(
    unit_of_work: AsyncSession, name: str, owner: str, value: str | None, seconds: float
) -> bool:
    """Write the row, unless there is one whose time is not over."""
    now = _now(unit_of_work)
    row = {"owner": owner, "value": value, "expires_at": now + seconds}
    insert = INSERTS[unit_of_work.get_bind().dialect.name](models.Lease)
    put = insert.values(name=name, **row).on_conflict_do_update(
        index_elements=["name"], set_=row, where=models.Lease.expires_at < now
    )
    return await unit_of_work.scalar(put.returning(models.Lease.name)) is not None


def _now(unit_of_work: AsyncSession) -> ColumnElement[float]:
    return literal_column(NOW[unit_of_work.get_bind().dialect.name], Double)
