"""Jobs that were submitted: how they are, what came of them, and which there are."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from pydantic import BaseModel

from . import guard, problems
from .job import Job, Seen, State, Submission
from .offered import Offer
from .store import MOST, Store

# Jobs that are looked at in one go.
BATCH = 100

UNKNOWN = problems.expected(
    HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
)
AWAY = problems.expected(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE)


class Jobs(BaseModel):
    """A page of them, the latest first."""

    jobs: list[Job]
    # For the next page, as `after`. None when this is the last one.
    next: str | None


class Stats(BaseModel):
    """How many of the recent jobs of a group are in which state."""

    jobs: dict[State, int]


async def known(request: Request, job_id: str) -> Submission | None:
    """What is remembered of it. Raises HTTPException when nobody has heard of this job."""
    store: Store = request.app.state.store
    (submission,) = await store.submissions([job_id])
    if submission is None and (await store.seen([job_id])) == [None]:
        raise HTTPException(
            HTTPStatus.NOT_FOUND,
            "There is no such job. Jobs are forgotten a day after they were submitted.",
        )
    return submission


Known = Annotated[Submission | None, Depends(known)]
routes = APIRouter(tags=["jobs"], dependencies=guard.NEEDS_KEY, responses=guard.REFUSALS)


@routes.get("/api/jobs", responses=AWAY)
async def recent(
    request: Request,
    state: State | None = None,
    task: Annotated[str | None, Query(description="Such as hello.greet.")] = None,
    after: Annotated[str | None, Query(description="Where the page before ended.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Jobs:
    """The latest jobs that were submitted here, up to a thousand."""
    store: Store = request.app.state.store
    ids = await store.recent()
    ids = ids[ids.index(after) + 1 :] if after in ids else [] if after else ids
    found: list[Job] = []
    async for job in _jobs(store, ids):
        if state in (None, job.state) and task in (None, job.task):
            if len(found) == limit:
                return Jobs(jobs=found, next=found[-1].id)
            found.append(job)
    return Jobs(jobs=found, next=None)


@routes.get("/api/jobs/{job_id}", responses=UNKNOWN)
async def look(request: Request, job_id: str, submission: Known) -> Job:
    """How a job is, and what came of it."""
    store: Store = request.app.state.store
    (seen,) = await store.seen([job_id])
    return (seen or Seen(None)).job(job_id, submission)


def add_stats(api: FastAPI, offers: list[Offer]) -> None:
    """A route for each group of tasks."""
    for group in sorted({offer.group for offer in offers}):
        tasks = {offer.task for offer in offers if offer.group == group}
        api.add_api_route(
            f"/api/{group}/stats",
            _stats(tasks),
            operation_id=f"{group}.stats",
            summary=Stats.__doc__,
            tags=[group],
            dependencies=guard.NEEDS_KEY,
            responses=guard.REFUSALS | AWAY,
        )


def _stats(tasks: set[str]) -> Callable[[Request], Awaitable[Stats]]:
    async def count(request: Request) -> Stats:
        store: Store = request.app.state.store
        found = [job.state async for job in _jobs(store, await store.recent()) if job.task in tasks]
        return Stats(jobs=Counter(found))

    return count


async def _jobs(store: Store, ids: list[str]) -> AsyncIterator[Job]:
    for start in range(0, min(len(ids), MOST), BATCH):
        some = ids[start : start + BATCH]
        submissions = await store.submissions(some)
        seen = await store.seen(some)
        for job_id, submission, record in zip(some, submissions, seen, strict=True):
            yield (record or Seen(None)).job(job_id, submission)
