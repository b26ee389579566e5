"""Results in Redis, which nobody needs who only sends a task."""

from typing import Any

from celery.backends.redis import RedisBackend
from redis.exceptions import OutOfMemoryError


class Backend(RedisBackend):
    """Celery's own, except that it subscribes when a result is waited for, not when a task is sent.

    While the Redis of the results was away, no task could be sent, nor could one be retried.
    """

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """Leave it to `get`, which subscribes before it looks."""

    def exception_safe_to_retry(self, exc: Exception) -> bool:
        """A Redis that is full, too: a task whose result is refused would run again and again."""
        safe: bool = super().exception_safe_to_retry(exc)
        return safe or isinstance(exc, OutOfMemoryError)
