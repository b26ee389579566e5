"""Jobs as Redis has them: Celery's results there say of each change at the moment it happens."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, replace
from typing import Any, TypeVar

import structlog
from kombu.utils import json
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ..celery import app
from ..redis_leases import client_url
from ..settings import settings
from .job import Seen, Submission
from .store import CLAIM, KEPT, MOST, Claim, Mailbox, Watchers, store_is_away

# Seconds. Without one, a connection that died silently is waited on for ever.
TIMEOUT = 2
# Seconds of silence after which the server must show that it is there.
SILENCE = 10
# Seconds between two tries to reach a server that is away.
TRY_AGAIN_AFTER = 0.5
RECENT = "api-recent"
# Nobody sends anything there. It keeps the connection open while nobody watches.
NOTHING = "api-nothing"
AWAY = (RedisError, OSError, TimeoutError)

Answer = TypeVar("Answer")

log = structlog.stdlib.get_logger()


class RedisStore:
    """One connection for all watchers of this process, and some for everything else."""

    def __init__(self) -> None:
        url = client_url(str(settings.celery_result_backend))
        options: Any = {"decode_responses": True, "socket_connect_timeout": TIMEOUT}
        # A connection that Redis closed when it was restarted is an error at its next use.
        bounds = {"max_connections": 20, "timeout": TIMEOUT, "socket_timeout": TIMEOUT}
        once_more = Retry(NoBackoff(), 1)
        pool = BlockingConnectionPool.from_url(url, retry=once_more, **bounds, **options)
        self._client: Any = Redis.from_pool(pool)
        # Connected anew in one place, below. By itself it would do so in two that race.
        self._listener: Any = Redis.from_url(url, retry=Retry(NoBackoff(), 0), **options)
        self._connection: Any = None
        self._listening: asyncio.Task[None] | None = None
        self._watchers = Watchers()
        self._leaving: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._listening = asyncio.create_task(self._listen())

    async def close(self) -> None:
        while self._listening and not self._listening.done():
            # What is cancelled while it connects goes on listening.
            self._listening.cancel()
            await asyncio.wait([self._listening], timeout=0.1)
        await self._listener.aclose()
        await self._client.aclose()
        await self._client.connection_pool.disconnect()

    def end_watching(self) -> None:
        self._watchers.end()

    async def remember(self, submission: Submission) -> None:
        key = f"api-job-{submission.id}"
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.set(key, submission.model_dump_json(), ex=KEPT)
            pipe.lpush(RECENT, submission.id)
            pipe.ltrim(RECENT, 0, MOST - 1)
            pipe.expire(RECENT, KEPT)
            await _answer(pipe.execute())

    async def submissions(self, ids: Sequence[str]) -> list[Submission | None]:
        texts = await self._texts([f"api-job-{job_id}" for job_id in ids])
        return [text and Submission.model_validate_json(text) for text in texts]

    async def recent(self) -> list[str]:
        found: list[str] = await _answer(self._client.lrange(RECENT, 0, MOST - 1))
        return found

    async def seen(self, ids: Sequence[str]) -> list[Seen | None]:
        texts = await self._texts([_key(job_id) for job_id in ids])
        return [text and Seen(json.loads(text)) for text in texts]

    async def claim(self, key: str, job_id: str, fingerprint: str) -> Claim:
        mine = Claim(job_id, fingerprint, is_submitted=False, is_mine=True)
        is_first = await self._set(_unsent(key), "", CLAIM)
        if is_first and await self._set(_claim(key), _text(mine), KEPT.total_seconds()):
            return mine
        text = await _answer(self._client.get(_claim(key)))
        if text is None:  # somebody else is between these two lines
            return replace(mine, is_mine=False)
        theirs = Claim(**json.loads(text), is_mine=False)
        is_left = is_first and not theirs.is_submitted and theirs.fingerprint == fingerprint
        # Under the same id, so that what was submitted after all is not a second job.
        return replace(theirs, is_mine=is_left)

    async def keep_claim(self, key: str, claim: Claim) -> None:
        kept = _text(replace(claim, is_submitted=True))
        await _answer(self._client.set(_claim(key), kept, ex=KEPT))

    async def release_claim(self, key: str) -> None:
        await _answer(self._client.delete(_unsent(key)))

    @asynccontextmanager
    async def watch(self, job_id: str) -> AsyncIterator[Mailbox]:
        channel = _key(job_id)
        is_first = channel not in self._watchers
        try:
            with self._watchers.mailbox(channel) as mailbox:
                if is_first:
                    await self._command("SUBSCRIBE", channel)
                elif not mailbox.is_closed:
                    (seen,) = await self.seen([job_id])
                    mailbox.put(seen or Seen(None))
                yield mailbox
        finally:
            if channel not in self._watchers:
                # Whoever hangs up is cancelled, and cannot wait for it.
                leaving = asyncio.create_task(self._leave(channel))
                self._leaving.add(leaving)
                leaving.add_done_callback(self._leaving.discard)

    async def _leave(self, channel: str) -> None:
        # Somebody may have come meanwhile.
        if channel not in self._watchers:
            await self._command("UNSUBSCRIBE", channel)

    async def _command(self, name: str, channel: str) -> None:
        # While the server is away, whoever reaches it again subscribes to all that is watched.
        if self._connection is not None:
            with suppress(*AWAY):
                await self._connection.send_command(name, channel)

    async def _listen(self) -> None:
        while True:
            try:
                await self._listen_to_one_connection()
            # Whatever it is: without a listener nobody who watches here would hear anything again.
            except Exception as error:
                log.warning("the store of the results does not answer", error=str(error))
            await asyncio.sleep(TRY_AGAIN_AFTER)

    async def _listen_to_one_connection(self) -> None:
        async with self._listener.pubsub() as listener:
            watched = self._watchers.keys()
            await listener.subscribe(NOTHING, *watched)
            self._connection = listener.connection
            try:
                for channel in self._watchers.keys() - watched:
                    await self._command("SUBSCRIBE", channel)
                is_asked = False
                while True:
                    message = await listener.get_message(timeout=SILENCE)
                    if message is None and is_asked:
                        raise TimeoutError("it is silent")
                    if message is None:
                        await self._connection.send_command("PING")
                    else:
                        await self._deliver(message["type"], message["channel"], message["data"])
                    is_asked = message is None
            finally:
                self._connection = None

    async def _deliver(self, kind: str, channel: str, text: Any) -> None:
        if kind == "subscribe" and channel in self._watchers:
            # From here on each change comes by itself. What was before has to be asked for.
            (text,) = await self._texts([channel])
            seen = Seen(text and json.loads(text))
        elif kind == "message":
            seen = Seen(json.loads(text))
        else:
            return
        self._watchers.tell(channel, seen)

    async def _set(self, key: str, text: str, seconds: float) -> bool:
        """Whether it was not there before."""
        return bool(await _answer(self._client.set(key, text, nx=True, px=int(seconds * 1000))))

    async def _texts(self, keys: Sequence[str]) -> list[Any]:
        found: list[Any] = await _answer(self._client.mget(keys)) if keys else []
        return found


async def _answer(asked: Awaitable[Answer]) -> Answer:
    try:
        return await asked
    except AWAY as error:
        log.warning("the store of the results does not answer", error=str(error))
        raise store_is_away() from None


def _key(job_id: str) -> str:
    # Where Celery keeps a result is also the channel on which it tells of each change.
    backend: Any = app.backend
    return bytes(backend.get_key_for_task(job_id)).decode()


def _claim(key: str) -> str:
    return f"api-key-{key}"


def _unsent(key: str) -> str:
    """There while a request is submitting what it has claimed."""
    return f"api-unsent-{key}"


def _text(claim: Claim) -> str:
    fields = asdict(claim)
    del fields["is_mine"]
    return json.dumps(fields)
