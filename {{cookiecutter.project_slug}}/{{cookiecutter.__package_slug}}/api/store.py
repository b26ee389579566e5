"""What the API keeps and reads: which jobs there are, and how each is."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Protocol

from fastapi import HTTPException

from .job import Seen, Submission

# How many submissions are remembered, and for how long: results are kept no longer.
MOST = 1000
KEPT = timedelta(hours=24)
# Seconds after which a request with the same key may submit what an earlier one, which was killed,
# has not. Longer than sending takes.
CLAIM = 10.0
# Changes that are kept for a watcher who is slow.
UNREAD = 20


def store_is_away() -> HTTPException:
    return HTTPException(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The store of the results does not answer. Try again.",
        {"Retry-After": "1"},
    )


@dataclass(frozen=True)
class Claim:
    """What an idempotency key stands for."""

    job_id: str
    # Of what was asked for: one key for two different requests is a mistake.
    fingerprint: str
    is_submitted: bool
    # Whether it is this request that has to submit it.
    is_mine: bool


class Mailbox:
    """How a watcher learns of the latest. Who is too slow misses the oldest, and delays nobody."""

    def __init__(self) -> None:
        self._news = asyncio.Event()
        self._seen: deque[Seen] = deque(maxlen=UNREAD)
        self.is_closed = False

    def put(self, seen: Seen) -> None:
        self._seen.append(seen)
        self._news.set()

    def close(self) -> None:
        self.is_closed = True
        self._news.set()

    async def next(self) -> Seen | None:
        """What is new; None at the end of the service."""
        await self._news.wait()
        if self.is_closed:
            return None
        seen = self._seen.popleft()
        if not self._seen:
            self._news.clear()
        return seen


class Watchers:
    """The mailboxes of all who watch, by what they watch."""

    def __init__(self) -> None:
        self._mailboxes: dict[str, set[Mailbox]] = {}
        self._is_ending = False

    def __contains__(self, key: str) -> bool:
        return key in self._mailboxes

    def keys(self) -> set[str]:
        return set(self._mailboxes)

    @contextmanager
    def mailbox(self, key: str) -> Iterator[Mailbox]:
        """One more, which is closed already when the service ends."""
        mailbox = Mailbox()
        if self._is_ending:
            mailbox.close()
        self._mailboxes.setdefault(key, set()).add(mailbox)
        try:
            yield mailbox
        finally:
            self._mailboxes[key].discard(mailbox)
            if not self._mailboxes[key]:
                del self._mailboxes[key]

    def tell(self, key: str, seen: Seen) -> None:
        for mailbox in self._mailboxes.get(key, ()):
            mailbox.put(seen)

    def end(self) -> None:
        """Close every mailbox, those that are opened later too."""
        self._is_ending = True
        for mailboxes in self._mailboxes.values():
            for mailbox in mailboxes:
                mailbox.close()


class Store(Protocol):
    """Each method raises HTTPException, with the status 503, when the store does not answer."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def end_watching(self) -> None:
        """Close every mailbox, those that are opened later too."""

    async def remember(self, submission: Submission) -> None: ...

    async def submissions(self, ids: Sequence[str]) -> list[Submission | None]: ...

    async def recent(self) -> list[str]:
        """The ids of what was submitted last, the latest first."""

    async def seen(self, ids: Sequence[str]) -> list[Seen | None]:
        """How each is; None of whom the result backend has heard nothing."""

    def watch(self, job_id: str) -> AbstractAsyncContextManager[Mailbox]:
        """A mailbox that holds at once how the job is, and then each change."""

    async def claim(self, key: str, job_id: str, fingerprint: str) -> Claim: ...

    async def keep_claim(self, key: str, claim: Claim) -> None:
        """It is submitted."""

    async def release_claim(self, key: str) -> None:
        """It was not, as far as is known: whoever comes next may, under the same id."""
