"""Jobs as the file has them: one look at all that are watched, whenever somebody rings."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from ..dirty.bell import Bell
from ..dirty.board import WATCHERS
from ..dirty.jobs import board
from .job import Seen, Submission
from .publisher import jobs_are_away
from .store import CLAIM, KEPT, MOST, Claim, Mailbox, Watchers

# Seconds until the next look when nobody rings, and that lie between two looks at least.
LOOK_EVERY = 1.0
PAUSE = 0.005
# Jobs that are looked at in one statement.
BATCH = 500

Answer = TypeVar("Answer")


class BoardStore:
    """What the API keeps is in the file of the jobs itself."""

    def __init__(self) -> None:
        self.watchers = Watchers()
        self._told: dict[str, Any] = {}
        self._rung = asyncio.Event()

    async def start(self) -> None:
        self._bell = Bell(board().bells, WATCHERS)
        asyncio.get_running_loop().add_reader(self._bell, self._hear)
        self._looking = asyncio.create_task(self._look())

    async def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._bell)
        self._bell.close()
        self._looking.cancel()
        with suppress(asyncio.CancelledError):
            await self._looking

    def end_watching(self) -> None:
        self.watchers.end()

    async def remember(self, submission: Submission) -> None:
        at = submission.submitted_at.timestamp()
        await self._run(lambda: board().submitted(submission.id, at))

    async def submissions(self, ids: Sequence[str]) -> list[Submission | None]:
        rows = await self._run(lambda: board().jobs(ids))
        return [_submission(rows[job_id]) if job_id in rows else None for job_id in ids]

    async def recent(self) -> list[str]:
        return await self._run(lambda: board().recent(MOST))

    async def seen(self, ids: Sequence[str]) -> list[Seen | None]:
        rows = await self._run(lambda: board().jobs(ids))
        return [_seen(rows[job_id]) if job_id in rows else None for job_id in ids]

    async def claim(self, key: str, job_id: str, fingerprint: str) -> Claim:
        claimed = await self._run(
            lambda: board().claim_key(key, job_id, fingerprint, CLAIM, KEPT.total_seconds())
        )
        return Claim(*claimed)

    async def keep_claim(self, key: str, claim: Claim) -> None:
        await self._run(lambda: board().keep_key(key))

    async def release_claim(self, key: str) -> None:
        await self._run(lambda: board().release_key(key))

    @asynccontextmanager
    async def watch(self, job_id: str) -> AsyncIterator[Mailbox]:
        try:
            with self.watchers.mailbox(job_id) as mailbox:
                (seen,) = await self.seen([job_id])
                mailbox.put(seen or Seen(None))
                yield mailbox
        finally:
            if job_id not in self.watchers:
                self._told.pop(job_id, None)

    def _hear(self) -> None:
        self._bell.hush()
        self._rung.set()

    async def _look(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._rung.wait(), LOOK_EVERY)
            self._rung.clear()
            watched = list(self.watchers.keys())
            for start in range(0, len(watched), BATCH):
                # Who watches goes on waiting; the reason is in the log.
                with suppress(Exception):
                    ids = watched[start : start + BATCH]
                    self._deliver(await self._run(partial(board().jobs, ids)))
            await asyncio.sleep(PAUSE)

    def _deliver(self, rows: Mapping[str, sqlite3.Row]) -> None:
        for job_id, row in rows.items():
            state = row["state"], row["report"], row["result"]
            if self._told.get(job_id) != state and job_id in self.watchers:
                self._told[job_id] = state
                self.watchers.tell(job_id, _seen(row))

    async def _run(self, work: Callable[[], Answer]) -> Answer:
        try:
            return await asyncio.to_thread(work)
        except sqlite3.Error:
            raise jobs_are_away() from None


def _seen(row: sqlite3.Row) -> Seen:
    told = {name: row[name] and json.loads(row[name]) for name in ("report", "result")}
    return Seen({"status": row["state"], **told})


def _submission(row: sqlite3.Row) -> Submission:
    at = datetime.fromtimestamp(row["submitted_at"], UTC)
    return Submission(id=row["id"], task=row["task"], submitted_at=at)
