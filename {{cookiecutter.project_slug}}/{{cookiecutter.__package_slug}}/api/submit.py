"""A route for each task that callers may submit."""

#{% if cookiecutter.__result_backend != "none" %}
import asyncio
import hashlib
import json
import time
from contextlib import suppress
from datetime import UTC, datetime
#{% endif %}
from http import HTTPStatus
#{% if cookiecutter.__result_backend != "none" %}
from typing import Annotated, Any
#{% endif %}
#{% if cookiecutter.__result_backend == "none" %}
from typing import Any
#{% endif %}
from uuid import uuid4

#{% if cookiecutter.__result_backend != "none" %}
from fastapi import FastAPI, Header, HTTPException, Query, Request, Response
#{% endif %}
#{% if cookiecutter.__result_backend == "none" %}
from fastapi import FastAPI, Request
from pydantic import BaseModel
#{% endif %}

from . import guard, problems
#{% if cookiecutter.__result_backend != "none" %}
from .job import Job, Seen, Submission
#{% endif %}
from .offered import Offer
from .publisher import Publisher
#{% if cookiecutter.__result_backend != "none" %}
from .store import Claim, Store

# Seconds that a caller may wait for a result.
LONGEST_WAIT = 60

Wait = Annotated[
    float,
    Query(ge=0, le=LONGEST_WAIT, description="Seconds to wait for the result before answering."),
]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=200,
        description="Whatever the caller makes up for this job. The same again, within a day, "
        "submits nothing and answers with the same job.",
    ),
]
#{% endif %}

REFUSALS = guard.REFUSALS | problems.expected(
    HTTPStatus.BAD_REQUEST,
    #{% if cookiecutter.__result_backend != "none" %}
    HTTPStatus.CONFLICT,
    #{% endif %}
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
#{% if cookiecutter.__result_backend == "none" %}


class Submitted(BaseModel):
    """A job that the broker has. What becomes of it is in the worker's log."""

    id: str
    task: str
#{% endif %}


def add_routes(api: FastAPI, offers: list[Offer]) -> None:
    for offer in offers:
        api.add_api_route(
            f"/api/{offer.path}",
            _endpoint(offer),
            methods=["POST"],
            status_code=HTTPStatus.ACCEPTED,
            operation_id=offer.task,
            summary=offer.summary,
            tags=[offer.group],
            dependencies=guard.NEEDS_KEY,
            #{% if cookiecutter.__result_backend != "none" %}
            responses={**REFUSALS, 200: {"model": Job, "description": "It has ended in time."}},
            #{% endif %}
            #{% if cookiecutter.__result_backend == "none" %}
            responses=REFUSALS,
            #{% endif %}
        )
#{% if cookiecutter.__result_backend == "none" %}


def _endpoint(offer: Offer) -> Any:
    async def submit(request: Request, arguments: Any) -> Submitted:
        publisher: Publisher = request.app.state.publisher
        job_id = str(uuid4())
        await publisher.send(offer.task, arguments.model_dump(mode="json", by_alias=True), job_id)
        return Submitted(id=job_id, task=offer.task)

    submit.__annotations__["arguments"] = offer.arguments
    return submit
#{% endif %}
#{% if cookiecutter.__result_backend != "none" %}


def _endpoint(offer: Offer) -> Any:
    async def submit(
        request: Request,
        response: Response,
        arguments: Any,
        wait: Wait = 0,
        idempotency_key: IdempotencyKey = None,
    ) -> Job:
        values = arguments.model_dump(mode="json", by_alias=True)
        submission = await _submitted(request, offer.task, values, idempotency_key)
        seen = await _seen(request.app.state.store, submission.id, wait)
        job = seen.job(submission.id, submission)
        response.headers["Location"] = job.links.self
        if seen.is_final:
            response.status_code = HTTPStatus.OK
        return job

    submit.__annotations__["arguments"] = offer.arguments
    return submit


async def _submitted(
    request: Request, task: str, values: dict[str, Any], idempotency_key: str | None
) -> Submission:
    publisher: Publisher = request.app.state.publisher
    store: Store = request.app.state.store
    submission = Submission(id=str(uuid4()), task=task, submitted_at=datetime.now(UTC))
    if idempotency_key is None:
        await publisher.send(task, values, submission.id)
        await _remember(store, submission)
        return submission

    key = _digest(idempotency_key)
    claim = await _claimed(store, key, submission.id, _digest(json.dumps([task, values])))
    submission = submission.model_copy(update={"id": claim.job_id})
    if claim.is_mine:
        try:
            await publisher.send(task, values, claim.job_id)
        except HTTPException:
            await store.release_claim(key)
            raise
        await _remember(store, submission)
        with suppress(HTTPException):
            await store.keep_claim(key, claim)
        return submission
    (known,) = await store.submissions([claim.job_id])
    return known or submission


async def _claimed(store: Store, key: str, job_id: str, fingerprint: str) -> Claim:
    claim = await store.claim(key, job_id, fingerprint)
    if claim.fingerprint != fingerprint:
        raise HTTPException(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "This Idempotency-Key stands for another request. Make up a new one.",
        )
    if not claim.is_mine and not claim.is_submitted:
        raise HTTPException(
            HTTPStatus.CONFLICT,
            "A request with this Idempotency-Key is being served. Ask again.",
            {"Retry-After": "1"},
        )
    return claim


async def _remember(store: Store, submission: Submission) -> None:
    # The job is accepted. To refuse it now would have the caller submit it twice.
    with suppress(HTTPException):
        await store.remember(submission)


async def _seen(store: Store, job_id: str, wait: float) -> Seen:
    seen = Seen(None)
    if wait == 0:
        return seen
    until = time.monotonic() + wait
    # Whatever goes wrong from here on, it is submitted.
    with suppress(TimeoutError, HTTPException):
        async with store.watch(job_id) as mailbox:
            while not seen.is_final:
                # Nothing else is ended by the time-out: drivers take that for an answer.
                news = await asyncio.wait_for(mailbox.next(), until - time.monotonic())
                if news is None:
                    break
                seen = news
    return seen


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
#{% endif %}
