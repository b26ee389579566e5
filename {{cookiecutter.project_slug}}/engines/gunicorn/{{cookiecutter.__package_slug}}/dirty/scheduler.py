"""Submits jobs when they are due."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from cronsim import CronSim

from .board import Board, QueueIsFull
from .jobs import submit

log = structlog.stdlib.get_logger()


@dataclass(frozen=True)
class Scheduled:
    """A job that runs again and again."""

    task: str
    # Every so often, or as cron has it: minute, hour, day, month, weekday; in UTC.
    when: timedelta | str
    # Seconds after which a run that nobody has begun is left out.
    expires: float
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def latest(self, now: float) -> float:
        """When it was due last, in seconds since 1970."""
        if isinstance(self.when, timedelta):
            return now - now % self.when.total_seconds()
        # What is asked for lies before this moment; the one that begins now counts.
        after = datetime.fromtimestamp(now, UTC) + timedelta(seconds=1)
        return next(CronSim(self.when, after, reverse=True)).timestamp()


def submit_due(board: Board, schedule: Mapping[str, Scheduled]) -> None:
    """What has become due since the last time, by whichever process. Of several runs that were
    missed the last one is made up for, if it has not expired."""
    now = time.time()
    for name, scheduled in schedule.items():
        at = scheduled.latest(now)
        if board.is_due(name, at) and now < at + scheduled.expires:
            try:
                submit(scheduled.task, scheduled.arguments, expires=at + scheduled.expires - now)
            except QueueIsFull as full:
                log.warning("a scheduled job is left out", name=name, reason=str(full))
