"""What a worker tells the outbox: that a task is done, or that it is among the dead letters."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from celery.signals import task_postrun, task_prerun, task_revoked
from celery.states import IGNORED, SUCCESS
from sqlalchemy import Delete, Update, delete, update

from . import outbox
from .database import session
from .dead_letters import buried, forgotten, requeued
from .models import Accepted
from .run_async import run_async
from .settings import settings

# Seconds, during which a worker may be able to do nothing else. What could not be told by then
# is made up for: the task is sent again.
LONGEST_WAIT = 5


@task_prerun.connect
def _begin(task: Any, task_id: str, **_: Any) -> None:
    if _came_from_outbox(task.request.headers):
        task.request.outbox_token = outbox.running.set(task_id)


@task_postrun.connect
def _end(task: Any, task_id: str, state: str, **_: Any) -> None:
    if token := getattr(task.request, "outbox_token", None):
        outbox.running.reset(token)
        if state in (SUCCESS, IGNORED):
            _write(_removed(task_id))


@task_revoked.connect
def _drop(request: Any, **_: Any) -> None:
    # It was revoked, or has expired: nobody wants it any more.
    if _came_from_outbox(request.headers):
        _write(_removed(request.id))


@forgotten.connect
def _forget(headers: dict[str, Any], **_: Any) -> None:
    if _came_from_outbox(headers):
        _write(_removed(headers.get("id")))


@buried.connect
def _keep(headers: dict[str, Any], about: dict[str, Any], **_: Any) -> None:
    # Sent again it would only fail again. The row stays: the broker may lose the dead letter.
    if _came_from_outbox(headers):
        _write(_known(headers).values(send_at=None, error=about["error"]))


@requeued.connect
def _watch_again(headers: dict[str, Any], **_: Any) -> None:
    if _came_from_outbox(headers):
        due = datetime.now(UTC) + timedelta(seconds=settings.outbox_resend_after)
        _write(_known(headers).values(send_at=due, error=None))


def _came_from_outbox(headers: dict[str, Any] | None) -> bool:
    return bool(headers and headers.get(outbox.HEADER))


def _removed(task_id: str | None) -> Delete:
    return delete(Accepted).where(Accepted.id == task_id)


def _known(headers: dict[str, Any]) -> Update:
    return update(Accepted).where(Accepted.id == headers.get("id"))


def _write(statement: Delete | Update) -> None:
    async def write() -> None:
        async with asyncio.timeout(LONGEST_WAIT), session() as unit_of_work:
            await unit_of_work.execute(statement)

    run_async(write())
