"""One beat sends what is due, however many are started; the others wait to take its place."""

import fcntl
import logging
import os
import time
from typing import Any

from celery.beat import PersistentScheduler, SchedulingError
from kombu.exceptions import OperationalError

from . import health

# Seconds between two tries to take the place of another beat, or to reach the broker.
TRY_AGAIN_AFTER = 1.0

logger = logging.getLogger(__name__)


class Scheduler(PersistentScheduler):
    """Celery's own, for whoever holds the lock beside the file of the schedule.

    The file keeps what was sent and when: who takes over neither forgets a task nor repeats it.
    """

    schedule_filename: str
    _store: Any
    _lock: int | None = None
    #{% if cookiecutter.include_metrics %}
    # Seconds since 1970; None while another beat sends.
    ticked_at: float | None = None
    #{% endif %}
    sends = False

    def setup_schedule(self) -> None:
        """Leave the file alone: a second beat that opens it would find it corrupted."""

    def tick(self, *args: Any, **options: Any) -> float:
        """Send what is due. Returns the seconds until there is more to do."""
        health.sign(health.ALIVE)
        seconds = TRY_AGAIN_AFTER
        if self.sends or self._take_over():
            self._follow_the_clock()
            seconds = super().tick(*args, **options)
            #{% if cookiecutter.include_metrics %}
            self.ticked_at = time.time()
            #{% endif %}
        health.sign(health.READY)
        return seconds

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send a task, however long the broker is away: Celery would count a lost one as sent."""
        while True:
            try:
                self.apply_async(entry, producer=producer, advance=False)
            except SchedulingError as failure:
                logger.error("%s", failure)
                # Any other mistake would be made again, and hold up all that is due after it.
                if not isinstance(failure.__context__, OperationalError):
                    return
            else:
                logger.info("sent %s, which was due", entry.name)
                return
            health.sign(health.ALIVE)
            time.sleep(TRY_AGAIN_AFTER)

    def sync(self) -> None:
        """Write down what was sent. On a full disk it is only remembered, and beat goes on."""
        try:
            super().sync()
        except OSError as problem:
            logger.error("the schedule cannot be written: %s", problem)
            # Python's shelf turns this off halfway, and would never write again.
            self._store.writeback = True

    def _follow_the_clock(self) -> None:
        """After the clock was set back: else nothing would be due until it is as late as before."""
        entries: list[Any] = list(self.schedule.values())
        ahead = [entry for entry in entries if entry.last_run_at > entry.default_now()]
        for entry in ahead:
            logger.warning("the clock was set back: %s is sent as if it just had been", entry.name)
            entry.last_run_at = entry.default_now()
        if ahead:
            # The order in which they are due.
            self._heap = None

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
        self.sends = True
        return True
