"""Dead letters: what failed for good, kept as it came until somebody decides what becomes of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import structlog
from celery import Celery
from celery.utils.dispatch import Signal

from .broker import DEAD_LETTERS_QUEUE
from .queues import queue_of
from .settings import settings

# What is known of the failure. All other headers are those of the original message.
HEADER = "dead_letter"
# How often the broker has handed out a message before, in vain.
DELIVERIES = "x-delivery-count"
# Characters. A broker may take no more than 128 KiB of headers.
LONGEST_ERROR = 1_000
LONGEST_TRACEBACK = 10_000
# Seconds, during which a worker may be able to do nothing else.
LONGEST_WAIT = 10
# The share of MAX_DEAD_LETTERS from which on each further one is a warning, too.
NEARLY_FULL = 0.8

# For whoever has to know what becomes of a task: each is sent with the `headers` of its message,
# and the first one with what is known of its failure, too.
buried, requeued, forgotten = Signal("buried"), Signal("requeued"), Signal("forgotten")

log = structlog.stdlib.get_logger()


@dataclass(frozen=True)
class DeadLetter:
    """A message in the queue of dead letters."""

    message: Any

    @property
    def about(self) -> dict[str, Any]:
        """Why it is here. Of what somebody else has put there little is known."""
        properties, headers = self.message.properties, self.message.headers
        tag = headers.get("id") or properties.get("delivery_tag")
        known = {"id": tag, "task": headers.get("task"), "queue": None}
        return {**known, **headers.get(HEADER, {})}

    @property
    def content(self) -> Any:
        """The arguments of a task, or whatever else the message holds."""
        body = self.message.body
        text = body.decode(errors="replace") if isinstance(body, bytes) else str(body)
        try:
            return json.loads(text)
        except ValueError:
            return text


def deliveries(message: Any) -> int:
    """How often it was delivered before to somebody who did not finish it."""
    count = message.headers.get(DELIVERIES)
    return count if isinstance(count, int) else 0


def bury(
    app: Celery, message: Any, reason: str, error: object, traceback: str = "", worker: str = ""
) -> bool:
    """Put a copy among the dead letters. Only if that worked may the original be acknowledged."""
    headers = message.headers
    about = {
        "id": str(headers.get("id") or uuid4()),
        "task": str(headers["task"]) if "task" in headers else None,
        "queue": queue_of(str(message.delivery_info.get("routing_key"))),
        "reason": reason,
        "error": repr(error)[:LONGEST_ERROR],
        # The end of it says what happened.
        "traceback": traceback[-LONGEST_TRACEBACK:],
        "worker": worker,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "deliveries": deliveries(message) + 1,
        "requeued": _requeued(message),
        "priority": message.properties.get("priority"),
    }
    seen = {name: value for name, value in about.items() if name != "traceback"}
    try:
        with _producer(app) as producer:

            def keep() -> int:
                waiting = _make_room(_queue(producer.channel))
                _send(producer, message, about, routing_key=DEAD_LETTERS_QUEUE.name)
                return waiting + 1

            # Its connection may be an old one, which the broker has closed.
            kept = producer.connection.ensure(producer, keep, max_retries=1)()
    except Exception:
        log.exception("a dead letter could not be kept, so the task goes back", **seen)
        return False
    log.error("a task is among the dead letters", **seen, dead_letters=kept)
    if kept > settings.max_dead_letters * NEARLY_FULL:
        log.warning("the oldest dead letters are dropped soon", most=settings.max_dead_letters)
    buried.send(sender=app, headers=headers, about=about)
    return True


@contextmanager
def opened(app: Celery) -> Iterator[list[DeadLetter]]:
    """All there are, the oldest first. Those that are not removed in the block stay."""
    with app.connection_for_write() as connection:
        queue = _queue(connection.default_channel)
        letters = []
        for _ in range(queue.queue_declare().message_count):
            if (message := queue.get()) is not None:
                letters.append(DeadLetter(message))
        try:
            yield sorted(letters, key=lambda letter: str(letter.about.get("at")))
        finally:
            for letter in letters:
                if not letter.message.acknowledged:
                    letter.message.requeue()


def requeue(app: Celery, letter: DeadLetter) -> None:
    """Have it run again. Who is killed in between leaves it in both queues, not in none."""
    queue: Any = app.amqp.queues[letter.about["queue"]]
    about = letter.about | {"requeued": _requeued(letter.message) + 1}
    with _producer(app) as producer:
        # Whoever asks for it now wants it, however late it is.
        if "expires" in letter.message.headers:
            letter.message.headers["expires"] = None
        _send(
            producer,
            letter.message,
            about,
            exchange=queue.exchange,
            routing_key=queue.routing_key,
            priority=about.get("priority"),
            declare=[queue],
        )
    letter.message.ack()
    requeued.send(sender=app, headers=letter.message.headers)


def forget(app: Celery, letter: DeadLetter) -> None:
    """Drop it, for ever."""
    letter.message.ack()
    forgotten.send(sender=app, headers=letter.message.headers)


@contextmanager
def _producer(app: Celery) -> Iterator[Any]:
    producer: Any
    with app.producer_pool.acquire(block=True) as producer:
        # Without a limit a broker that is away would be waited for without an end.
        producer.connection.ensure_connection(max_retries=1, interval_start=0)
        yield producer


def _make_room(queue: Any) -> int:
    """Drop the oldest until there is room for one more. Returns how many are left."""
    waiting: int = queue.queue_declare().message_count
    while waiting >= settings.max_dead_letters and (oldest := queue.get()) is not None:
        about = DeadLetter(oldest).about
        log.error("the oldest dead letter is dropped", id=about["id"], task=about["task"])
        oldest.ack()
        waiting -= 1
    return waiting


def _queue(channel: Any) -> Any:
    return DEAD_LETTERS_QUEUE(channel)


def _requeued(message: Any) -> int:
    about = message.headers.get(HEADER)
    return about.get("requeued", 0) if isinstance(about, dict) else 0


def _send(producer: Any, message: Any, about: dict[str, Any], **options: Any) -> None:
    # It came decompressed, and its deliveries are counted anew.
    left_out = {"compression", DELIVERIES}
    headers = {name: value for name, value in message.headers.items() if name not in left_out}
    producer.publish(
        message.body or b"",
        headers=headers | {HEADER: about},
        content_type=message.content_type or "application/octet-stream",
        content_encoding=message.content_encoding,
        correlation_id=message.properties.get("correlation_id"),
        reply_to=message.properties.get("reply_to"),
        delivery_mode=2,
        retry=False,
        confirm_timeout=LONGEST_WAIT,
        **options,
    )
