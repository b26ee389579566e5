"""Sends tasks without holding up the other requests, and refuses soon when the broker is away."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from http import HTTPStatus
from typing import Any, TypeVar

import structlog
from fastapi import HTTPException
from kombu.exceptions import OperationalError

from ..celery import app
from ..queues import Queue
from ..sending import prompt_connection
from ..settings import settings

Result = TypeVar("Result")

log = structlog.stdlib.get_logger()


def broker_is_away() -> HTTPException:
    return HTTPException(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The broker does not answer. Try again.",
        {"Retry-After": "1"},
    )


class Publisher:
    """As many threads as there are connections to the broker; who finds none free waits in line."""

    def __init__(self) -> None:
        # One connection is left for what a thread needs a second one for.
        most: int = app.conf.broker_pool_limit - 1
        self._free = most
        self._line: deque[asyncio.Future[None]] = deque()
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="publisher")

    def close(self) -> None:
        """What is being sent is sent to its end."""
        self._threads.shutdown()

    async def send(self, task: str, arguments: dict[str, Any], job_id: str) -> None:
        """Returns when the broker has the task. Raises HTTPException when it does not take it."""
        await self.run(lambda: app.send_task(task, kwargs=arguments, task_id=job_id))

    async def run(self, call: Callable[[], Result]) -> Result:
        """The result of what speaks to the broker. Raises HTTPException when it is away."""
        await self._wait_for_a_thread()
        # The task takes the request's correlation id along.
        told = partial(copy_context().run, _told, call)
        work = asyncio.get_running_loop().run_in_executor(self._threads, told)
        work.add_done_callback(self._next)
        try:
            # Who hung up must not make a task half sent: it goes on, and is noticed by nobody.
            return await asyncio.shield(work)
        except OperationalError as error:
            log.warning("the broker does not answer", error=str(error))
            raise broker_is_away() from None

    async def _wait_for_a_thread(self) -> None:
        if self._free:
            self._free -= 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(place)
        try:
            await asyncio.wait_for(place, settings.publish_timeout)
        except TimeoutError:
            raise broker_is_away() from None
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._free += 1
            raise

    def _next(self, work: "asyncio.Future[Any]") -> None:
        self._free += 1
        # Who waits for a broker that is away would wait for their own attempt after this one.
        is_away = not work.cancelled() and isinstance(work.exception(), OperationalError)
        while self._line and self._free:
            place = self._line.popleft()
            if place.done():
                continue
            if is_away:
                place.set_exception(broker_is_away())
            else:
                self._free -= 1
                place.set_result(None)


def reach() -> None:
    """Raises what its driver raises when the broker cannot be reached."""
    queue: Any = app.amqp.queues[Queue.DEFAULT]
    with prompt_connection(app) as made:
        made.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        with made.channel() as channel:
            # Not every broker is asked something by a connection alone.
            queue(channel).queue_declare()


def _told(call: Callable[[], Result]) -> Result:
    """The result. Raises OperationalError whatever the driver of the broker raises."""
    try:
        return call()
    except Exception as error:
        # Only now, because to make one takes as long as much of what else sending does.
        driver = prompt_connection(app)
        if isinstance(error, driver.connection_errors + driver.channel_errors):
            raise OperationalError(str(error)) from error
        raise
