"""End a job before it has ended by itself."""

from http import HTTPStatus

from fastapi import APIRouter, Request

from ..dirty.jobs import board
from . import guard
from .job import Job
from .jobs import UNKNOWN, Known, look
from .publisher import Publisher

routes = APIRouter(tags=["jobs"], dependencies=guard.NEEDS_KEY, responses=guard.REFUSALS)


@routes.post("/api/jobs/{job_id}/cancel", status_code=HTTPStatus.ACCEPTED, responses=UNKNOWN)
async def cancel(request: Request, job_id: str, submission: Known) -> Job:
    """Drop a job that waits. One that runs goes on to its end."""
    publisher: Publisher = request.app.state.publisher
    await publisher.run(lambda: board().cancel(job_id))
    return await look(request, job_id, submission)
