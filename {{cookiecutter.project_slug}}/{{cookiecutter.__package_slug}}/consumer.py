"""The part of a worker that talks to the broker, and tells that it does."""

import traceback
#{% if cookiecutter.__broker == "redis" %}
from collections import deque
#{% endif %}
from collections.abc import Callable
#{% if cookiecutter.__broker == "redis" %}
from contextlib import suppress
from functools import partial
from threading import Event, Thread
#{% endif %}
from typing import Any

import structlog
from celery.exceptions import NotRegistered
from celery.utils.imports import symbol_by_name
#{% if cookiecutter.__worker_pool == "prefork" %}
from celery.worker import state
#{% endif %}
from celery.worker.consumer import Consumer as CeleryConsumer
#{% if cookiecutter.__broker == "redis" %}
from celery.worker.consumer.mingle import Mingle
#{% endif %}
from kombu import Message
from pydantic import BaseModel, TypeAdapter
#{% if cookiecutter.__broker == "redis" %}
from redis.exceptions import ResponseError
#{% endif %}

from . import dead_letters, health, logs
#{% if cookiecutter.__worker_pool == "prefork" %}
from .prefork_pool import CancelledTimers, wait_for_what_begins
#{% endif %}
#{% if cookiecutter.__broker == "redis" %}
from .redis_transport import Channel, Poller
#{% endif %}
from .request import answering
from .settings import settings

# Seconds between two signs of life.
SIGN_EVERY = 1.0
# Arguments, keyword arguments, and what comes after the task.
BODY = TypeAdapter(tuple[list[Any], dict[str, Any], dict[str, Any] | None])

log = structlog.stdlib.get_logger()


class Headers(BaseModel):
    """Those of a task on which Celery relies unseen."""

    id: str
    eta: Any = None
    expires: Any = None
    retries: int | None = None
    timelimit: tuple[float | None, float | None] | None = None
    stamped_headers: list[str] | None = None
    stamps: dict[str, Any] | None = None


class Consumer(CeleryConsumer):
    """Celery's own, with signs of life on its own timer: they stop when it hangs.

    Messages of which Celery would end, or which it would drop, are buried.
    """

    connection_errors: tuple[type[Exception], ...]
    event_dispatcher: Any
    hub: Any
    #{% if cookiecutter.__worker_pool == "prefork" %}
    pool: Any
    #{% endif %}
    qos: Any
    steps: list[Any]
    strategies: dict[str, Any]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.timer.call_repeatedly(SIGN_EVERY, self._sign)
        #{% if cookiecutter.__worker_pool == "prefork" %}
        if self.hub is not None:
            self.timer.call_repeatedly(SIGN_EVERY, CancelledTimers(self.timer).drop)
        #{% endif %}
        #{% if cookiecutter.__broker == "redis" %}
        self._has_ended = Event()
        # By whichever connection: what is done, and Redis does not know it yet.
        self._acknowledged: deque[str] = deque()
        for step in self.steps:
            if isinstance(step, Mingle):
                step.send_hello = partial(self._greet, step.send_hello)  # type: ignore[method-assign]
        #{% endif %}

    def connect(self) -> Any:
        connection: Any = super().connect()
        established: Any = connection.connection

        def drain_events(**options: Any) -> Any:
            return connection.transport.drain_events(established, **options)

        # Kombu would replace one that breaks while a task is acknowledged, without a word, by one
        # that has no consumers.
        connection.drain_events = drain_events
        #{% if cookiecutter.__broker == "redis" %}
        if isinstance(established.cycle, Poller):
            established.cycle.serve(self.hub, self._acknowledged)
        #{% endif %}
        return connection

    def connection_for_read(self, heartbeat: float | None = None) -> Any:
        connection: Any = super().connection_for_read(heartbeat)
        if connection.supports_heartbeats and heartbeat is None:
            # That of remote control, where all tasks run in one loop. With a broker that is gone
            # without a word it would wait for an answer to its farewell, and the worker for it.
            connection.release = connection.collect
        return connection

    #{% if cookiecutter.__broker == "redis" %}
    def _greet(self, greet: Callable[[Any], Any], consumer: Any) -> Any:
        """Ask the other workers what was revoked: a second to wait, unless nobody could answer."""
        channel = consumer.connection.default_channel
        if isinstance(channel, Channel):
            # Not everybody may ask who listens.
            with suppress(ResponseError), channel.conn_or_acquire() as commands:
                if not commands.pubsub_numpat():
                    return {}
        return greet(consumer)

    #{% endif %}
    def ensure_connected(self, connection: Any) -> Any:
        health.sign_while_connecting(connection)
        return super().ensure_connected(connection)

    #{% if cookiecutter.__broker == "redis" %}
    def stop(self) -> None:
        super().stop()
        if self.connection is not None:
            # What the worker finishes before it ends would be taken for lost, and run again.
            Thread(target=self._keep_to_the_end, args=(self.connection,), daemon=True).start()

    def shutdown(self) -> None:
        self._has_ended.set()
        super().shutdown()

    def _keep_to_the_end(self, connection: Any) -> None:
        cycle = connection.transport.cycle
        while isinstance(cycle, Poller) and not self._has_ended.wait(settings.task_lease / 4):
            try:
                cycle.maybe_restore_messages()
            except Exception:
                log.exception("Redis refuses to hear that this worker lives")

    #{% endif %}
    #{% if cookiecutter.__worker_pool == "prefork" %}
    def on_close(self) -> None:
        if state.should_stop is not None:
            wait_for_what_begins(getattr(self.pool, "_pool", None))
        super().on_close()

    #{% endif %}
    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Message], None]:
        start: Callable[[Message], None] = super().create_task_handler(*args, **options)

        def handle(message: Message) -> None:
            # Only what reads the message is tried here: a broker that is away is no fault of it.
            try:
                self._check(message)
            except Exception as error:
                self.on_decode_error(message, error)
                return
            with logs.of_message(message):
                if dead_letters.deliveries(message) < settings.max_deliveries:
                    start(message)
                else:
                    request = self._request(message)
                    self._tell(request.on_failure, request.give_up())
            #{% if cookiecutter.__broker == "redis" %}
            if self.qos.prev != self.qos.value:
                # A task that is not due yet makes room for another one. Told of it after all
                # messages that have come, it would take in delayed tasks one by one.
                self.qos.update()
            #{% endif %}

        return handle

    def update_strategies(self) -> None:
        super().update_strategies()
        for task in self.app.tasks.values():
            task.__trace__ = answering(task.__trace__)

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        reason = "unknown task" if isinstance(exc, NotRegistered) else "malformed"
        told = "".join(traceback.format_exception(exc))
        if not dead_letters.bury(self.app, message, reason, exc, told, self.hostname):
            message.reject_log_error(log, self.connection_errors, requeue=True)
            return
        message.ack_log_error(log, self.connection_errors)
        if isinstance(task_id := message.headers.get("id"), str):
            self._tell(self.app.backend.mark_as_failure, task_id, exc)

    def _check(self, message: Message) -> None:
        """Raises what is wrong with a message."""
        name = message.headers["task"]
        if name not in self.strategies:
            raise NotRegistered(name)
        headers = Headers.model_validate(message.headers)
        BODY.validate_python(message.decode())
        if headers.eta or headers.expires:
            request = self._request(message)
            if request.eta:
                # Fails for a date that no clock can show, as Celery would later.
                request.eta.astimezone()

    def _request(self, message: Message) -> Any:
        task = self.app.tasks[message.headers["task"]]
        return symbol_by_name(task.Request)(
            message,
            app=self.app,
            task=task,
            hostname=self.hostname,
            eventer=self.event_dispatcher,
            on_ack=message.ack_log_error,
            on_reject=message.reject_log_error,
            connection_errors=self.connection_errors,
        )

    def _tell(self, tell: Callable[..., Any], *arguments: Any) -> None:
        """Whoever waits for a result. To be unable to is no reason to end."""
        try:
            tell(*arguments)
        except Exception:
            log.exception("the result of a dead letter could not be stored")

    def _sign(self) -> None:
        health.sign(health.ALIVE)
        if self.connection is not None:
            health.sign(health.READY)
