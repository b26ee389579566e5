"""How a worker ends a task: what fails for good is buried before it is acknowledged."""

from collections.abc import Callable
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import Celery
from celery.exceptions import Retry, TimeLimitExceeded
from celery.worker import request

from . import dead_letters, logs


class DeliveredTooOften(Exception):
    """Whoever ran the task died of it, again and again."""


class NotFinished(Exception):
    """An error that is none of the task's, or ends more than the task."""


def answering(trace: Callable[..., Any]) -> Callable[..., Any]:
    """What runs a task, made to answer whatever happens.

    Where all tasks run in one process, nobody would hear of such an error, and the worker would
    keep the task's place for ever. Celery's pool of processes sees to that itself.
    """

    def answer(*args: Any, **options: Any) -> Any:
        try:
            return trace(*args, **options)
        except (Exception, SystemExit) as error:
            # In the form that Celery gives to a failure.
            return _raised(NotFinished(repr(error)), error), True, None, None

    return answer


def _raised(error: Exception, cause: BaseException | None = None) -> Any:
    try:
        raise error from cause
    except Exception:
        return ExceptionInfo()


class Request(request.Request):
    """A task that Celery rejects for good goes to the dead letters.

    The settings have it reject what failed. A retry, and what was revoked, it acknowledges.
    """

    app: Celery
    _already_cancelled: bool
    _already_revoked: bool
    _reason = "failed"
    _error: BaseException | None = None
    _traceback = ""

    def on_failure(
        self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False
    ) -> None:
        error = exc_info.exception
        if not isinstance(error, Retry):
            # Billiard wraps what it carries from process to process.
            error = getattr(error, "exc", error)
        is_stopped = self._already_cancelled or self._already_revoked
        if isinstance(error, MemoryError | SystemExit) and not is_stopped:
            # The first would end the worker, and the second would have the task run again.
            error = exc_info.exception = RuntimeError(f"the task ended with {error!r}")
        self._error, self._traceback = error, str(exc_info.traceback)
        # Whether its result is stored already.
        return_ok = return_ok and not isinstance(error, NotFinished)
        with logs.of_message(self.message):
            if isinstance(error, TimeLimitExceeded):
                self.reject()
            super().on_failure(exc_info, send_failed_event, return_ok)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        with logs.of_message(self.message):
            if not soft:
                self._error = TimeLimitExceeded(timeout)
                self.reject()
            super().on_timeout(soft, timeout)

    def cancel(self, *args: Any, **options: Any) -> None:
        # Celery would say so last. With a result backend that is away, too, it would then take the
        # end of the process for that of a revoked task, and acknowledge it.
        self._already_cancelled = True
        super().cancel(*args, **options)

    def give_up(self) -> Any:
        """Bury it instead of running it once more. Returns what is to be told of it."""
        count = dead_letters.deliveries(self.message)
        self._reason = "delivered too often"
        self._error = DeliveredTooOften(f"{count} times, and nobody lived to finish it")
        self.reject()
        return _raised(self._error)

    def reject(self, requeue: bool = False) -> None:
        if requeue or self.acknowledged:
            super().reject(requeue)
        elif dead_letters.bury(
            self.app, self.message, self._reason, self._error, self._traceback, self.hostname
        ):
            self.acknowledge()
        else:
            super().reject(requeue=True)
