"""Locks that all processes share: one holder at a time, and none for ever."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from . import leases

PREFIX = "{{ cookiecutter.project_slug }}:lock:"
# Seconds between two attempts to get what somebody else has.
TRY_EVERY = 0.1

log = structlog.stdlib.get_logger()


class LockTaken(Exception):
    """Somebody else had the lock for as long as there was patience."""


class LockLost(Exception):
    """The lease could not be renewed in time, so somebody else may have the lock."""


class Held:
    """A lock while its block runs."""

    def __init__(self, name: str, lease: float) -> None:
        self.name = name
        self._seconds = lease
        self._lease = leases.Lease(PREFIX + name, lease)
        self._is_lost = False
        self._until = 0.0
        self._ended = threading.Event()
        self._renewing = threading.Thread(target=self._renew, name=f"lock {name}", daemon=True)

    @property
    def is_lost(self) -> bool:
        """Whether somebody else may be inside."""
        # A process that was stopped, or cannot ask, knows by its own clock.
        return self._is_lost or time.monotonic() >= self._until

    def check(self) -> None:
        """Raises LockLost when somebody else may be inside: before each step that matters."""
        if self.is_lost:
            raise LockLost(self.name)

    def take(self) -> bool:
        # Counted from before the question, so that no other clock lets go sooner than this one.
        until = time.monotonic() + self._seconds
        if not self._lease.take():
            return False
        self._until = until
        self._renewing.start()
        return True

    def give_back(self) -> None:
        self._ended.set()
        self._renewing.join()
        try:
            self._lease.end()
        except leases.AWAY:
            log.warning("a lock is free after its lease, not at once", exc_info=True)

    def _renew(self) -> None:
        while not self._ended.wait(self._seconds / 3):
            until = time.monotonic() + self._seconds
            try:
                self._is_lost = not self._lease.renew()
            except leases.AWAY:
                log.warning("a lock could not be renewed", lock=self.name, exc_info=True)
                continue
            if self._is_lost:
                log.error("a lock was lost while its block runs", lock=self.name)
                return
            self._until = until


@contextmanager
def lock(name: str, *, lease: float = 30, patience: float = 0) -> Iterator[Held]:
    """Have the lock of this name in the block, as the only one in all processes.

    It is renewed until the block ends. A holder that dies has it for `lease` seconds more.

    Raises:
        LockTaken: when somebody else still has it after `patience` seconds.
    """
    held = Held(name, lease)
    deadline = time.monotonic() + patience
    while not held.take():
        if time.monotonic() >= deadline:
            raise LockTaken(f"somebody else has the lock {name}")
        time.sleep(TRY_EVERY)
    try:
        yield held
    finally:
        held.give_back()
