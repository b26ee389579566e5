"""The relay: sends what the outbox holds, and sends it again when it is not done in time."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import structlog
from kombu.exceptions import OperationalError
from sqlalchemy import select, update

from . import health, outbox
from .celery import app
from .database import session
from .models import Accepted
from .run_async import run_async
from .settings import settings

# How many are sent between two looks at the database.
BATCH = 100
# Seconds between two looks when nothing is due, and the most while broker or database are away.
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 20.0
# Seconds that a relay has to send what it has claimed, before another one may.
CLAIM = 60
# Seconds after which a database that does not answer counts as away.
LONGEST_WAIT = 10
# Seconds between two tries for a task that is never done.
LONGEST_INTERVAL = 24 * 60 * 60.0

log = structlog.stdlib.get_logger()


def keep_sending(stopping: Event) -> None:
    """Send what is due, however often broker or database go away."""
    app.loader.import_default_modules()
    log.info("the relay sends what the outbox holds")
    pause = SHORTEST_PAUSE
    while not stopping.is_set():
        health.sign(health.ALIVE)
        try:
            pause = 0 if send_due() == BATCH else SHORTEST_PAUSE
            health.sign(health.READY)
        except Exception as error:
            pause = min(2 * max(pause, SHORTEST_PAUSE), LONGEST_PAUSE)
            log.error("the outbox waits", error=repr(error), seconds=pause)
        stopping.wait(pause)


def send_due() -> int:
    """Send what is due, but not too much at once. Returns how many that was.

    Raises what the database raises when it is away, and OperationalError when the broker is.
    """
    until = datetime.now(UTC) + timedelta(seconds=CLAIM)
    claimed = run_async(_claim(until))
    waiting, sent = list(claimed), []
    try:
        while waiting:
            try:
                _send(waiting[0])
            except OperationalError:
                raise
            except Exception:
                # It must not hold up the others, and is tried again when the claim is over.
                log.exception("a task cannot be sent", id=waiting[0].id, task=waiting[0].task)
            else:
                sent.append(waiting[0])
            del waiting[0]
    finally:
        run_async(_settle(until, sent, waiting))
    return len(claimed)


def _send(entry: Accepted) -> None:
    signature = app.signature(entry.task, entry.args, entry.kwargs, **entry.options)
    headers = (entry.options.get("headers") or {}) | {outbox.HEADER: True}
    signature.apply_async(task_id=entry.id, headers=headers)


async def _claim(until: datetime) -> Sequence[Accepted]:
    """What is due, until then for this relay alone.

    Nothing is locked while it is sent: a task that is done already could not remove its row.
    """
    due = (
        select(Accepted.id)
        .where(Accepted.send_at <= datetime.now(UTC))
        .order_by(Accepted.send_at)
        .limit(BATCH)
        # PostgreSQL's other relays take what is left. SQLite lets one write at a time anyway.
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    claim = update(Accepted).where(Accepted.id.in_(select(due.c.id))).values(send_at=until)
    async with asyncio.timeout(LONGEST_WAIT), session() as unit_of_work:
        claimed = await unit_of_work.scalars(claim.returning(Accepted))
        return sorted(claimed.all(), key=lambda entry: entry.accepted_at)


async def _settle(until: datetime, sent: list[Accepted], waiting: list[Accepted]) -> None:
    """Note what was sent, and give back the rest."""
    now = datetime.now(UTC)
    changes: list[tuple[list[Accepted], dict[str, Any]]] = [(waiting, {"send_at": now})]
    for times in {entry.sent for entry in sent}:
        # Ever later: tasks that wait in a long queue must not make it longer and longer.
        seconds = min(settings.outbox_resend_after * 2**times, LONGEST_INTERVAL)
        again = {"send_at": now + timedelta(seconds=seconds), "sent": times + 1}
        changes.append(([entry for entry in sent if entry.sent == times], again))
    async with asyncio.timeout(LONGEST_WAIT), session() as unit_of_work:
        for entries, values in changes:
            ids = [entry.id for entry in entries]
            # Not what is done or buried by now, nor what another relay has claimed since.
            claimed = update(Accepted).where(Accepted.id.in_(ids), Accepted.send_at == until)
            if ids:
                await unit_of_work.execute(claimed.values(values))
