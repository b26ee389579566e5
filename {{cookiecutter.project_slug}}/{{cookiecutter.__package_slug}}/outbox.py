"""The outbox: a task that is accepted in the same transaction as the rows it is about.

It is sent by the relay, again and again if need be, until it is done: see docs/outbox.md.
"""

import json
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from kombu.utils.json import dumps
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from .models import Accepted

if TYPE_CHECKING:
    from celery.canvas import Signature

# By which a worker knows a task that came from here. Others cost it no query.
HEADER = "outbox"
# The id of the task that runs, if it came from here.
running: ContextVar[str | None] = ContextVar("running", default=None)


def accept(unit_of_work: AsyncSession, signature: "Signature[Any]") -> str:
    """Have a task sent once the unit of work is committed, and never when it is rolled back.

    Returns the task's id. What could not be sent later is refused: it raises TypeError for
    arguments that do not fit or are no JSON, ValueError for anything but a single task, and
    Celery's QueueNotFound for a queue that does not exist.
    """
    name, app = str(signature.task), signature.app
    task: Any = app.tasks.get(name)
    if signature.subtask_type:
        raise ValueError(f"{name} is no single task: accept one that sends the others")
    if task and task.typing:
        task.__header__(*signature.args, **signature.kwargs)
    options = dict(signature.options)
    task_id = str(options.pop("task_id", None) or uuid4())
    app.amqp.router.route(dict(options), name, signature.args, signature.kwargs)
    now = datetime.now(UTC)
    # Counted from now, not from when it is sent.
    countdown, eta = options.pop("countdown", None), options.pop("eta", None)
    if options.get("expires") is not None:
        options["expires"] = _time(options["expires"], now).isoformat()
    unit_of_work.add(
        Accepted(
            id=task_id,
            task=name,
            args=_plain(name, list(signature.args)),
            kwargs=_plain(name, signature.kwargs),
            options=_plain(name, options),
            accepted_at=now,
            send_at=_time(countdown or 0 if eta is None else eta, now),
        )
    )
    return task_id


async def take(unit_of_work: AsyncSession) -> bool:
    """Whether the task that runs has not had its effect yet, which belongs into this unit of work.

    Both are committed together, so the effect happens once, however often the task is delivered.
    True as well for a task that did not come from the outbox.
    """
    task_id = running.get()
    if task_id is None:
        return True
    taken = delete(Accepted).where(Accepted.id == task_id).returning(Accepted.id)
    return await unit_of_work.scalar(taken) is not None


def _time(wish: Any, now: datetime) -> datetime:
    """The time that a countdown, a date or its text means. One without a zone is UTC to Celery."""
    if isinstance(wish, int | float):
        return now + timedelta(seconds=wish)
    time = datetime.fromisoformat(wish) if isinstance(wish, str) else wish
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def _plain(name: str, value: Any) -> Any:
    """As it will be in the message: with dates and the like as Celery writes them."""
    try:
        return json.loads(dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} cannot be accepted, as this is no JSON: {error}") from None
