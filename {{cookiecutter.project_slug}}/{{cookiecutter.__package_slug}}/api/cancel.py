"""End a job before it has ended by itself."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, HTTPException, Request

from ..celery import app
from ..sending import prompt_connection
from . import guard
from .job import Job
from .jobs import UNKNOWN, Known, look
from .publisher import Publisher

# Seconds that workers have to answer.
PATIENCE = 0.5

routes = APIRouter(tags=["jobs"], dependencies=guard.NEEDS_KEY, responses=guard.REFUSALS)


@routes.post("/api/jobs/{job_id}/cancel", status_code=HTTPStatus.ACCEPTED, responses=UNKNOWN)
async def cancel(request: Request, job_id: str, submission: Known) -> Job:
    #{% if cookiecutter.__worker_pool != "threads" %}
    """End a job, whether it waits or runs. One that waits is dropped when a worker meets it."""
    #{% endif %}
    #{% if cookiecutter.__worker_pool == "threads" %}
    """Drop a job that waits, when a worker meets it. Nothing can end a thread that runs one."""
    #{% endif %}
    publisher: Publisher = request.app.state.publisher
    if not await publisher.run(lambda: _revoke(job_id)):
        # Only workers that run keep in mind what they must not begin.
        raise HTTPException(
            HTTPStatus.SERVICE_UNAVAILABLE, "No worker answers. Try again.", {"Retry-After": "1"}
        )
    return await look(request, job_id, submission)


def _revoke(job_id: str) -> Any:
    """The answers of the workers."""
    with prompt_connection(app) as made:
        #{% if cookiecutter.__worker_pool == "threads" %}
        return app.control.revoke(job_id, connection=made, reply=True, timeout=PATIENCE)
        #{% endif %}
        #{% if cookiecutter.__worker_pool != "threads" %}
        return app.control.revoke(
            job_id, terminate=True, connection=made, reply=True, timeout=PATIENCE
        )
        #{% endif %}
