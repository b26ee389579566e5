"""What callers are told of a job."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel


class State(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL = {State.SUCCEEDED, State.FAILED, State.CANCELLED}
# As they are stored. A job of which nothing is stored waits in its queue.
STATES = {
    "PENDING": State.QUEUED,
    "RECEIVED": State.QUEUED,
    "STARTED": State.RUNNING,
    "PROGRESS": State.RUNNING,
    "RETRY": State.RETRYING,
    "SUCCESS": State.SUCCEEDED,
    "FAILURE": State.FAILED,
    "REJECTED": State.FAILED,
    "REVOKED": State.CANCELLED,
}


class Progress(BaseModel):
    done: int
    total: int
    note: str = ""


class Failure(BaseModel):
    """What went wrong. The traceback stays in the service's log."""

    type: str
    message: str


class Links(BaseModel):
    self: str
    events: str
    #{% if cookiecutter.__broker != "sqs" %}
    cancel: str
    #{% endif %}


class Job(BaseModel):
    id: str
    # Neither is known of a job that was not submitted here.
    task: str | None
    submitted_at: datetime | None
    state: State
    progress: Progress | None = None
    # What the job returned, once it has succeeded.
    result: Any = None
    # Why it failed, or is tried again.
    error: Failure | None = None
    links: Links


class Submission(BaseModel):
    """What is remembered of a job that was submitted here."""

    id: str
    task: str
    submitted_at: datetime


class Seen:
    """What is stored of a job, or nothing yet."""

    def __init__(self, record: Mapping[str, Any] | None) -> None:
        self._record = record or {"status": "PENDING", "result": None}
        self.state = STATES.get(str(self._record["status"]), State.RUNNING)
        self.is_final = self.state in FINAL

    def steps(self) -> list[Progress]:
        """The latest steps of a job that reports them, the oldest first."""
        return [Progress(**step) for step in self._report().get("steps", ())]

    def began(self) -> float:
        """When the run began that these steps are of: a job that is tried again has several."""
        return float(self._report().get("began", 0))

    def _report(self) -> Mapping[str, Any]:
        # Where it is kept beside the result, it can be read when that is there.
        found = self._record.get("report")
        if self._record["status"] == "PROGRESS":
            found = found or self._record["result"]
        # A task may tell of its progress in a way of its own, and what it likes.
        return found if isinstance(found, Mapping) and "steps" in found else {}

    def error(self) -> Failure | None:
        if self.state not in (State.FAILED, State.CANCELLED, State.RETRYING):
            return None
        found = self._record["result"]
        if not isinstance(found, Mapping):
            return Failure(type="", message=str(found))
        words = found.get("exc_message") or ""
        words = words if isinstance(words, str) else ", ".join(str(word) for word in words)
        return Failure(type=str(found.get("exc_type", "")), message=words)

    def job(self, job_id: str, submission: Submission | None) -> Job:
        steps = self.steps()
        base = f"/api/jobs/{job_id}"
        return Job(
            id=job_id,
            task=submission and submission.task,
            submitted_at=submission and submission.submitted_at,
            state=self.state,
            progress=steps[-1] if steps and not self.is_final else None,
            result=self._record["result"] if self.state is State.SUCCEEDED else None,
            error=self.error(),
            #{% if cookiecutter.__broker != "sqs" %}
            links=Links(self=base, events=f"{base}/events", cancel=f"{base}/cancel"),
            #{% endif %}
            #{% if cookiecutter.__broker == "sqs" %}
            links=Links(self=base, events=f"{base}/events"),
            #{% endif %}
        )
