"""Whether this process is alive, and whether it can do its work: cheap to ask."""

from http import HTTPStatus

from fastapi import APIRouter, Request
from pydantic import BaseModel

from . import problems
from .look import Look

# Seconds for which an answer counts.
FRESH = 1.0


class Health(BaseModel):
    status: str


routes = APIRouter(tags=["health"])


@routes.get("/healthz")
async def alive() -> Health:
    """Whether this process answers, whatever else is away."""
    return Health(status="alive")


@routes.get("/readyz", responses=problems.expected(HTTPStatus.SERVICE_UNAVAILABLE))
async def ready(request: Request) -> Health:
    """Whether it can take jobs, too."""
    reached: Look[None] = request.app.state.reached
    await reached.answer()
    return Health(status="ready")
