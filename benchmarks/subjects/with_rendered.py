"""A project rendered from this template."""

from typing import Any

from order_jobs.celery import app
from order_jobs.tasks import benchmark


def send(job: str, number: int, **options: Any) -> Any:
    task = getattr(benchmark, job)
    return task.apply_async([number], **options) if options else task.delay(number)


def send_in_bulk(job: str, numbers: range) -> None:
    with app.batch():
        for number in numbers:
            send(job, number)


def send_in_chunks(job: str, numbers: range) -> None:
    getattr(benchmark, job).chunks([(number,) for number in numbers], 100).delay()


def result(sent: Any) -> None:
    sent.get(timeout=60)
