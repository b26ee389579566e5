"""Writes jobs down without holding up the other requests, and refuses what there is no room for."""

import asyncio
import sqlite3
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar

import structlog
from fastapi import HTTPException

from ..dirty import jobs
from ..dirty.board import QueueIsFull

Result = TypeVar("Result")

log = structlog.stdlib.get_logger()


def jobs_are_away() -> HTTPException:
    return HTTPException(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The file of the jobs cannot be used. Try again.",
        {"Retry-After": "1"},
    )


class Publisher:
    def close(self) -> None:
        """Nothing is kept open."""

    async def send(self, task: str, arguments: dict[str, Any], job_id: str) -> None:
        """Returns when the job is written down. Raises HTTPException when it is not."""
        await self.run(lambda: jobs.submit(task, arguments, job_id))

    async def run(self, call: Callable[[], Result]) -> Result:
        """The result of what uses the file of the jobs. Raises HTTPException when it cannot."""
        try:
            return await asyncio.to_thread(call)
        except QueueIsFull as full:
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{full}, which is as many as MAX_WAITING allows. Try again.",
                {"Retry-After": "5"},
            ) from None
        except sqlite3.Error as error:
            log.warning("the file of the jobs cannot be used", error=str(error))
            raise jobs_are_away() from None


def reach() -> None:
    """Raises sqlite3.Error when the file of the jobs cannot be used."""
    jobs.board().waiting()
