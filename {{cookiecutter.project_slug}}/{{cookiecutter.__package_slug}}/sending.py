"""How tasks are sent: in bounded time, and not for later than the broker can keep them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import get_ident
from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from celery.exceptions import TaskPredicate
from celery.utils import uuid
from celery.utils.time import maybe_iso8601
from kombu import Producer, pools
from kombu.exceptions import BatchPublishError, OperationalError  # type: ignore[attr-defined]

from . import telemetry
from .broker import LONGEST_DELAY, SENDING_OPTIONS
from .settings import settings

# Seconds. A chain would end where its worker could not send the next step, and a retry would be
# dropped: a task rather holds its place while the broker is restarted.
PATIENCE_OF_A_TASK = 30.0
TRY_AGAIN_AFTER = 0.05


@dataclass
class Batch:
    """What is sent together. Threads that a block starts, or leaves behind, do not belong to it."""

    producer: Producer | None
    thread: int = field(default_factory=get_ident)


batch_begun: ContextVar[Batch | None] = ContextVar("batch_begun", default=None)


def batching() -> Producer | None:
    """What sends the tasks of the batch that this code belongs to, if there is one."""
    batch = batch_begun.get()
    return batch.producer if batch and batch.thread == get_ident() else None


def prompt_connection(app: Celery) -> Any:
    """To the broker, for who should not wait: it is tried as often as its user says, no more."""
    return app.connection_for_write(
        connect_timeout=settings.publish_timeout,
        transport_options={**SENDING_OPTIONS, "max_retries": 0},
    )


class PromptProducer(Producer):
    """Waits for a confirmation no longer than for the rest, whatever time-outs a socket has."""

    def publish(self, *args: Any, **options: Any) -> Any:
        # What is told to all workers would be tried for as long as the broker is away.
        options.setdefault("retry_policy", {"max_retries": 1, "interval_start": 0})
        options.setdefault("confirm_timeout", settings.publish_timeout)
        return super().publish(*args, **options)


class PromptAMQP(AMQP):
    """Sends over connections of its own: who waits for messages must be more patient."""

    _producer_pool: Any = None

    @property
    def producer_pool(self) -> Any:
        if self._producer_pool is None:
            connection = prompt_connection(self.app)
            self._producer_pool = pools.ProducerPool(
                pools.connections[connection],
                limit=self.app.pool.limit,
                Producer=PromptProducer,
            )
        return self._producer_pool


class Application(Celery):
    """Celery's own, whose every way to send a task ends here."""

    amqp_cls = f"{__name__}:{PromptAMQP.__name__}"

    def send_task(  # type: ignore[override]
        self,
        name: str,
        args: Any = None,
        kwargs: Any = None,
        countdown: float | None = None,
        eta: Any = None,
        task_id: str | None = None,
        producer: Any = None,
        **options: Any,
    ) -> Any:
        """Raises OperationalError when the broker does not take the task in time."""
        countdown, eta = _bounded(countdown, eta, bool(options.get("retries")))
        patience = PATIENCE_OF_A_TASK if self.current_worker_task else settings.publish_timeout
        deadline = time.monotonic() + patience
        # The same in each attempt: one that came through unnoticed must not become a second task.
        options |= {"task_id": task_id or uuid(), "timeout": settings.publish_timeout}
        together = batching()
        with self.producer_or_acquire(producer) as chosen:
            while True:
                try:
                    with telemetry.publishing(name, options["task_id"]):
                        return super().send_task(
                            name, args, kwargs, countdown, eta, producer=chosen, **options
                        )
                except OperationalError:
                    if chosen is together:
                        # It holds tasks that a new connection would not have.
                        raise
                    # The connection may have died long ago, and the broker be there.
                    chosen.connection.collect()
                    chosen.revive(chosen.connection)
                    if options.get("retry") is False or time.monotonic() >= deadline:
                        raise
                time.sleep(TRY_AGAIN_AFTER)

    def producer_or_acquire(self, producer: Any = None) -> Any:
        """Joins the batch: who asked for another producer might wait for that of his own batch."""
        return super().producer_or_acquire(producer or batching())

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Send the tasks of this block in few round trips, where the broker can.

        An error in the block keeps back those which are not on their way yet. Raises
        OperationalError when the broker does not take all in time: it may have some of them.
        A block within another one is part of it.
        """
        with self.producer_or_acquire() as producer:
            can_batch = producer.supports_batch_publish
        if batching() or not can_batch:
            yield
            return
        with self.producer_or_acquire() as producer:
            batch = Batch(producer)
            token = batch_begun.set(batch)
            try:
                with producer.batch() as sent:
                    try:
                        yield
                    except TaskPredicate:
                        # A task that is tried again has sent itself, and then leaves the block.
                        sent.flush()
                        raise
            except BatchPublishError as error:
                raise OperationalError(f"{error.__cause__ or error}") from error
            finally:
                batch_begun.reset(token)
                batch.producer = None


def _bounded(countdown: float | None, eta: Any, is_retry: bool) -> tuple[float | None, Any]:
    seconds, wish = countdown or 0, f"countdown={countdown}"
    if eta is not None:
        due: Any = maybe_iso8601(eta)
        # A time without a zone is UTC to Celery.
        due = due if due.tzinfo else due.replace(tzinfo=UTC)
        seconds, wish = (due - datetime.now(UTC)).total_seconds(), f"eta={eta}"
    if seconds <= LONGEST_DELAY:
        return countdown, eta
    if is_retry:
        # Celery drops a task whose retry is refused; one that comes early harms nobody.
        return LONGEST_DELAY, None
    raise ValueError(
        f"{wish} is more than {LONGEST_DELAY:.0f} s away: the broker would hand out the task again "
        "and again before. Have a scheduled task send it in time, or set a longer "
        f"VISIBILITY_TIMEOUT than {settings.visibility_timeout} s"
    )
