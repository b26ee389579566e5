"""The database: one engine per process, one session per unit of work."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from .settings import settings

# An insert that stands what is there already is the same statement for both, but SQLAlchemy has it
# once for each.
INSERTS: dict[str, type[postgresql.Insert | sqlite.Insert]] = {
    "postgresql": postgresql.Insert,
    "sqlite": sqlite.Insert,
}


@cache
def engine() -> AsyncEngine:
    """The engine of this process, whose connections serve one task after the other."""
    make_sqlite_folder()
    # A database that was restarted must not fail the first task after it.
    return create_async_engine(settings.database_url, pool_pre_ping=True)


if hasattr(os, "register_at_fork"):
    # Two processes that talk over one connection get each other's answers.
    os.register_at_fork(after_in_child=engine.cache_clear)


def make_sqlite_folder() -> None:
    """SQLite makes its file, but not the folder it lies in."""
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)


@asynccontextmanager
async def session() -> AsyncIterator[AsyncSession]:
    """One unit of work: committed at the end of the block, rolled back when it raises."""
    async with AsyncSession(engine(), expire_on_commit=False) as unit_of_work:
        async with unit_of_work.begin():
            yield unit_of_work
        for callback in unit_of_work.info.get("after_commit", ()):
            # Sending a task may have to wait, which must not stop the loop.
            await asyncio.to_thread(callback)


def after_commit(unit_of_work: AsyncSession, callback: Callable[[], object]) -> None:
    """Call back once the unit of work is committed, and never when it is rolled back.

    A task that is sent earlier may run before the rows it needs can be seen.
    """
    unit_of_work.info.setdefault("after_commit", []).append(callback)
