"""Jobs as the database has them: one look at all that are watched, every moment."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog
from celery.backends.database.models import Task
from kombu.utils import json
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from ..settings import settings
from .job import Seen, Submission
from .store import CLAIM, KEPT, MOST, Claim, Mailbox, Watchers, store_is_away

# Seconds between two looks.
LOOK_EVERY = 0.2
# Seconds. A database that is gone without a word would hold up every thread there is.
TIMEOUT = 2
BOUNDS = {
    "postgresql": {
        "connect_timeout": TIMEOUT,
        "tcp_user_timeout": TIMEOUT * 1000,
        "options": f"-c statement_timeout={TIMEOUT}s",
    }
}
# Jobs that are looked at in one statement.
BATCH = 500

TABLES = sa.MetaData()
SUBMITTED = sa.Table(
    "celery_submitted_jobs",
    TABLES,
    sa.Column("id", sa.String(155), primary_key=True),
    sa.Column("task", sa.String(155), nullable=False),
    sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=False, index=True),
)
KEYS = sa.Table(
    "celery_idempotency_keys",
    TABLES,
    sa.Column("key", sa.String(64), primary_key=True),
    sa.Column("job_id", sa.String(155), nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("is_submitted", sa.Boolean, nullable=False),
    sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False, index=True),
)
RESULTS: sa.Table = Task.__table__
INSERTS: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}

Answer = TypeVar("Answer")

log = structlog.stdlib.get_logger()


class DatabaseStore:
    """Celery's own table of results, and two beside it."""

    def __init__(self) -> None:
        url = sa.make_url(str(settings.celery_result_backend).removeprefix("db+"))
        self._engine = sa.create_engine(
            url,
            # A database that was restarted must not fail the first request after it.
            pool_pre_ping=True,
            pool_timeout=TIMEOUT,
            connect_args=BOUNDS.get(url.get_backend_name(), {}),
        )
        self._looking: asyncio.Task[None] | None = None
        self._watchers = Watchers()
        self._told: dict[str, Any] = {}
        self._has_tables = False

    async def start(self) -> None:
        self._looking = asyncio.create_task(self._look())

    async def close(self) -> None:
        if self._looking:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
        self._engine.dispose()

    def end_watching(self) -> None:
        self._watchers.end()

    async def remember(self, submission: Submission) -> None:
        def insert(connection: sa.Connection) -> None:
            connection.execute(SUBMITTED.insert().values(submission.model_dump()))
            old = SUBMITTED.c.submitted_at < submission.submitted_at - KEPT
            connection.execute(SUBMITTED.delete().where(old))

        await self._run(insert)

    async def submissions(self, ids: Sequence[str]) -> list[Submission | None]:
        rows = await self._rows(sa.select(SUBMITTED).where(SUBMITTED.c.id.in_(ids)))
        known = {row["id"]: Submission.model_validate(row | _utc(row)) for row in rows}
        return [known.get(job_id) for job_id in ids]

    async def recent(self) -> list[str]:
        latest = sa.select(SUBMITTED.c.id).order_by(SUBMITTED.c.submitted_at.desc()).limit(MOST)
        return [row["id"] for row in await self._rows(latest)]

    async def seen(self, ids: Sequence[str]) -> list[Seen | None]:
        known = {row["task_id"]: _seen(row) for row in await self._rows(_results(ids))}
        return [known.get(job_id) for job_id in ids]

    async def claim(self, key: str, job_id: str, fingerprint: str) -> Claim:
        now = datetime.now(UTC)
        row: dict[str, Any] = {"job_id": job_id, "fingerprint": fingerprint, "is_submitted": False}
        over = now - timedelta(seconds=CLAIM)

        def take(connection: sa.Connection) -> Claim:
            connection.execute(KEYS.delete().where(KEYS.c.claimed_at < now - KEPT))
            insert = INSERTS[connection.dialect.name](KEYS)
            mine = insert.values(key=key, claimed_at=now, **row).on_conflict_do_nothing()
            if connection.execute(mine.returning(KEYS.c.key)).first():
                return Claim(**row, is_mine=True)
            # Under the same id, so that what was submitted after all is not a second job.
            is_left = KEYS.c.is_submitted.is_(False), KEYS.c.claimed_at < over
            mine_again = KEYS.c.key == key, KEYS.c.fingerprint == fingerprint, *is_left
            taken = connection.execute(KEYS.update().values(claimed_at=now).where(*mine_again))
            columns = KEYS.c.job_id, KEYS.c.fingerprint, KEYS.c.is_submitted
            theirs = connection.execute(sa.select(*columns).where(KEYS.c.key == key)).one()
            return Claim(*theirs, is_mine=taken.rowcount == 1)

        return await self._run(take)

    async def keep_claim(self, key: str, claim: Claim) -> None:
        kept = KEYS.update().where(KEYS.c.key == key).values(is_submitted=True)
        await self._run(lambda connection: connection.execute(kept))

    async def release_claim(self, key: str) -> None:
        over = datetime.now(UTC) - timedelta(seconds=2 * CLAIM)
        released = KEYS.update().where(KEYS.c.key == key).values(claimed_at=over)
        await self._run(lambda connection: connection.execute(released))

    @asynccontextmanager
    async def watch(self, job_id: str) -> AsyncIterator[Mailbox]:
        try:
            with self._watchers.mailbox(job_id) as mailbox:
                if not mailbox.is_closed:
                    (seen,) = await self.seen([job_id])
                    mailbox.put(seen or Seen(None))
                yield mailbox
        finally:
            if job_id not in self._watchers:
                self._told.pop(job_id, None)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            watched = list(self._watchers.keys())
            for start in range(0, len(watched), BATCH):
                # Who watches goes on waiting; the reason is in the log.
                with suppress(Exception):
                    self._deliver(await self._rows(_results(watched[start : start + BATCH])))

    def _deliver(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            job_id = row["task_id"]
            if self._told.get(job_id) != row and job_id in self._watchers:
                self._told[job_id] = row
                self._watchers.tell(job_id, _seen(row))

    async def _rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        return await self._run(
            lambda connection: [dict(row) for row in connection.execute(query).mappings()]
        )

    async def _run(self, work: Callable[[sa.Connection], Answer]) -> Answer:
        try:
            return await asyncio.to_thread(self._run_here, work)
        except SQLAlchemyError as error:
            log.warning("the store of the results does not answer", error=str(error))
            raise store_is_away() from None

    def _run_here(self, work: Callable[[sa.Connection], Answer]) -> Answer:
        if not self._has_tables:
            # Two processes that make them at the same moment: the second finds them there.
            for attempt in (1, 2):
                try:
                    TABLES.create_all(self._engine)
                    RESULTS.metadata.create_all(self._engine)
                    break
                except SQLAlchemyError:
                    if attempt == 2:
                        raise
            self._has_tables = True
        with self._engine.begin() as connection:
            return work(connection)


def _results(ids: Sequence[str]) -> sa.Select[Any]:
    columns = RESULTS.c.task_id, RESULTS.c.status, RESULTS.c.result
    return sa.select(*columns).where(RESULTS.c.task_id.in_(ids))


def _seen(row: Mapping[str, Any]) -> Seen:
    return Seen({**row, "result": row["result"] and json.loads(row["result"])})


def _utc(row: Mapping[str, Any]) -> dict[str, datetime]:
    # SQLite forgets the zone.
    at: datetime = row["submitted_at"]
    return {"submitted_at": at if at.tzinfo else at.replace(tzinfo=UTC)}
