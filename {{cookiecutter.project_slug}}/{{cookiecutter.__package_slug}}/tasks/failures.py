"""What a workflow does when one of its tasks fails."""

from typing import Any

import structlog
from celery import shared_task

log = structlog.stdlib.get_logger()


@shared_task(name="failures.report", soft_time_limit=5, time_limit=10)
def report(request: Any, error: Exception, traceback: object) -> None:
    """Say in the log which task of a workflow failed, and why.

    A worker calls an error callback of three arguments itself, where it has the exception at hand.
    """
    log.error("workflow failed", failed_task=request.task, failed_id=request.id, error=repr(error))
