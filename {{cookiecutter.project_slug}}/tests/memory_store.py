"""A store of the API in memory, for tests whose results are there, too."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar

from celery.backends.cache import CacheBackend
from kombu.utils import json

from {{ cookiecutter.__package_slug }}.api.job import Seen, Submission
from {{ cookiecutter.__package_slug }}.api.store import Claim, Mailbox, Watchers
from {{ cookiecutter.__package_slug }}.celery import app


class MemoryStore:
    # The latest last.
    running: ClassVar[list["MemoryStore"]] = []

    def __init__(self) -> None:
        self.watchers = Watchers()
        self.forget_all()

    def forget_all(self) -> None:
        self._submissions: dict[str, Submission] = {}
        self._claims: dict[str, Claim] = {}

    async def start(self) -> None:
        self.loop = asyncio.get_running_loop()
        MemoryStore.running.append(self)

    async def close(self) -> None:
        MemoryStore.running.remove(self)

    def end_watching(self) -> None:
        self.watchers.end()

    async def remember(self, submission: Submission) -> None:
        self._submissions[submission.id] = submission

    async def submissions(self, ids: Sequence[str]) -> list[Submission | None]:
        return [self._submissions.get(job_id) for job_id in ids]

    async def recent(self) -> list[str]:
        return list(reversed(self._submissions))

    async def seen(self, ids: Sequence[str]) -> list[Seen | None]:
        return [record and Seen(json.loads(record)) for record in map(self._record, ids)]

    async def claim(self, key: str, job_id: str, fingerprint: str) -> Claim:
        if key in self._claims:
            found = self._claims[key]
            self._claims[key] = replace(found, is_mine=False)
            return found
        claim = Claim(job_id, fingerprint, is_submitted=False, is_mine=True)
        self._claims[key] = replace(claim, is_mine=False)
        return claim

    async def keep_claim(self, key: str, claim: Claim) -> None:
        self._claims[key] = replace(claim, is_submitted=True, is_mine=False)

    async def release_claim(self, key: str) -> None:
        self._claims[key] = replace(self._claims[key], is_mine=True)

    @asynccontextmanager
    async def watch(self, job_id: str) -> AsyncIterator[Mailbox]:
        with self.watchers.mailbox(_key(job_id)) as mailbox:
            (seen,) = await self.seen([job_id])
            mailbox.put(seen or Seen(None))
            yield mailbox

    def tell(self, key: str, record: str) -> None:
        self.watchers.tell(key, Seen(json.loads(record)))

    def _record(self, job_id: str) -> Any:
        backend: Any = app.backend
        return backend.get(backend.get_key_for_task(job_id))


def _key(job_id: str) -> str:
    backend: Any = app.backend
    return bytes(backend.get_key_for_task(job_id)).decode()


_set: Any = CacheBackend.set


def _set_and_tell(backend: Any, key: Any, value: Any) -> Any:
    """Each store learns of each result as it is stored, by whatever thread."""
    stored = _set(backend, key, value)
    for store in MemoryStore.running:
        store.loop.call_soon_threadsafe(store.tell, bytes(key).decode(), value)
    return stored


CacheBackend.set = _set_and_tell  # type: ignore[assignment,method-assign]
