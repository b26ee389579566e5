"""Leases in Redis: what one holder has until it ends it or stops renewing it."""

from contextlib import suppress
from datetime import timedelta
from functools import cache

import redis
from redis.exceptions import LockNotOwnedError

from .settings import settings

# Redis is away, full, or does not answer.
AWAY = (redis.RedisError,)


@cache
def client() -> redis.Redis:
    return redis.Redis.from_url(
        client_url(settings.locks_url),
        decode_responses=True,
        # Without a timeout a connection that died silently is waited on for ever.
        socket_timeout=5,
        socket_connect_timeout=5,
        # At redis-py's limit of 100 the tasks beyond it fail; one process may run more at a time.
        max_connections=1000,
    )


def client_url(url: str) -> str:
    """Celery's way to name a socket is none of redis-py's."""
    return url.replace("redis+socket:", "unix:").replace("virtual_host=", "db=")


class Lease:
    """Redis ends it by itself, by its own clock."""

    def __init__(self, name: str, seconds: float) -> None:
        self._seconds = seconds
        # Another thread renews it.
        self._lock = client().lock(name, timeout=seconds, thread_local=False)

    def take(self) -> bool:
        return bool(self._lock.acquire(blocking=False))

    def renew(self) -> bool:
        """False when it is over, whoever has it now."""
        try:
            return bool(self._lock.extend(self._seconds, replace_ttl=True))
        except LockNotOwnedError:
            return False

    def end(self) -> None:
        """Leaves it alone when somebody else has it by now."""
        with suppress(LockNotOwnedError):
            self._lock.release()


def keep(name: str, value: str, window: timedelta) -> None:
    client().set(name, value, px=window)


def kept(name: str) -> str | None:
    """What is kept under this name, and not too old."""
    found = client().get(name)
    return None if found is None else str(found)
