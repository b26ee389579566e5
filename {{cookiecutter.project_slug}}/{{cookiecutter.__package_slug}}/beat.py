"""One beat sends what is due, however many are started; the others wait to take its place."""

import fcntl
import logging
import os
from typing import Any

from celery.beat import PersistentScheduler

from . import health

# Seconds between two tries to take the place of another beat.
TRY_AGAIN_AFTER = 1.0

logger = logging.getLogger(__name__)


class Scheduler(PersistentScheduler):
    """Celery's own, for whoever holds the lock beside the file of the schedule.

    The file keeps what was sent and when: who takes over neither forgets a task nor repeats it.
    """

    schedule_filename: str
    _lock: int | None = None
    _sends = False

    def setup_schedule(self) -> None:
        """Leave the file alone: a second beat that opens it would find it corrupted."""

    def tick(self, *args: Any, **options: Any) -> float:
        """Send what is due. Returns the seconds until there is more to do."""
        health.sign(health.ALIVE)
        health.sign(health.READY)
        if not self._sends and not self._take_over():
            return TRY_AGAIN_AFTER
        seconds: float = super().tick(*args, **options)
        return seconds

    def _take_over(self) -> bool:
        is_first_try = self._lock is None
        if self._lock is None:
            self._lock = os.open(f"{self.schedule_filename}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if is_first_try:
                logger.warning("another beat sends what is due; this one waits for its end")
            return False
        super().setup_schedule()
        health.sign_while_connecting(self.connection)
        self._sends = True
        return True
