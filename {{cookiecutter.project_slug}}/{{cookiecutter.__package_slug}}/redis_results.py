"""Results in Redis, which nobody needs who only sends a task."""

# What Celery's types leave out of its backends.
# mypy: disable-error-code="attr-defined, misc"

from typing import Any

from celery import states
from celery.backends.redis import RedisBackend
from kombu.utils.encoding import bytes_to_str
from kombu.utils.objects import cached_property
from redis.exceptions import OutOfMemoryError

# Celery's own rule: what has succeeded stays so, whatever a second run of the task says.
# KEYS: the result, which is also the channel of those who wait for it.
# ARGV: what is stored there, seconds for which it is kept, or 0.
STORE = """
local kept = ARGV[2] == '0' and {} or {'EX', ARGV[2]}
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', unpack(kept)) then
  local readable, before = pcall(cjson.decode, redis.call('GET', KEYS[1]))
  if not readable or type(before) ~= 'table' then return 0 end
  if before.status == 'SUCCESS' then return 1 end
  redis.call('SET', KEYS[1], ARGV[1], unpack(kept))
end
redis.call('PUBLISH', KEYS[1], ARGV[1])
return 1
"""


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

    @cached_property
    def _script(self) -> Any:
        return self.client.register_script(STORE)

    def _store_result(
        self,
        task_id: str,
        result: Any,
        state: str,
        traceback: str | None = None,
        request: Any = None,
        **options: Any,
    ) -> Any:
        """In one go, where Celery asks first and then sends four commands."""
        meta = self._get_result_meta(result, state, traceback, request)
        meta["task_id"] = bytes_to_str(task_id)
        expires = self.failure_expires if state == states.FAILURE else self.expires
        arguments = self.encode(meta), expires or 0
        if not self._script([self.get_key_for_task(task_id)], arguments):
            # What is there was written in another format, or compressed.
            super()._store_result(task_id, result, state, traceback, request, **options)
        return result
