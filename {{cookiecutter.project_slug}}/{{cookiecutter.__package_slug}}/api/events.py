"""A job as it happens: server-sent events, from a snapshot to its end."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent

from . import guard, problems
from .job import Progress, State
from .jobs import Known
from .store import Store

REFUSALS = problems.expected(
    HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
)

# No event has been received yet.
NOTHING = -1

LastEventId = Annotated[
    str | None,
    Header(description="The id of the last event that was received: what came after it is sent."),
]

routes = APIRouter(tags=["jobs"], dependencies=guard.NEEDS_KEY, responses=guard.REFUSALS)


@routes.get("/api/jobs/{job_id}/events", response_class=EventSourceResponse, responses=REFUSALS)
async def events(
    request: Request, job_id: str, submission: Known, last_event_id: LastEventId = None
) -> AsyncIterator[ServerSentEvent]:
    """`snapshot` first; then `progress` for each step and `state` when it changes; `done` or
    `failed` at the end. The id of an event is how many steps are done."""
    store: Store = request.app.state.store
    told, began = _number(last_event_id), 0.0
    state: State | None = None
    async with store.watch(job_id) as mailbox:
        while (seen := await mailbox.next()) is not None:
            job = seen.job(job_id, submission)
            steps = seen.steps()
            is_first = state is None
            if is_first:
                told = _start(told, steps)
                yield ServerSentEvent(event="snapshot", data=job, id=str(told))
            elif seen.state is not state and not seen.is_final:
                yield ServerSentEvent(event="state", data=job)
            state = seen.state
            # What is asked for may overtake what was told before, so that an older run follows.
            if steps and began <= seen.began():
                if began < seen.began() and not is_first:
                    told = steps[0].done - 1
                began = seen.began()
                for step in steps:
                    if step.done > told:
                        told = step.done
                        yield ServerSentEvent(event="progress", data=step, id=str(told))
            if seen.is_final:
                event = "done" if seen.state is State.SUCCEEDED else "failed"
                yield ServerSentEvent(event=event, data=job, id=str(told))
                return


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 19 else NOTHING


def _start(told: int, steps: list[Progress]) -> int:
    """How many steps count as told when a stream begins."""
    if not steps:
        return max(told, 0)
    if told == NOTHING:
        return steps[-1].done
    # Those were of an earlier run, before the job was tried again.
    return steps[0].done - 1 if told > steps[-1].done else told
