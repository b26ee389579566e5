"""Plain Celery, with the settings that the benchmark names."""

import json
import os
from typing import Any

import workload
from celery import Celery, group

URL = os.environ["BENCHMARK_REDIS"]

app = Celery("with_celery", broker=f"{URL}/0")
if "BENCHMARK_RESULTS" in os.environ:
    app.conf.result_backend = f"{URL}/1"
app.conf.update(json.loads(os.environ.get("CELERY_OPTIONS", "{}")))
TASKS = {name: app.task(name=name)(function) for name, function in workload.SYNC.items()}


def send(job: str, number: int, **options: Any) -> Any:
    if not options:
        return TASKS[job].delay(number)
    return TASKS[job].apply_async([number], **options)


def send_in_bulk(job: str, numbers: range) -> None:
    group(TASKS[job].s(number) for number in numbers).delay()


def send_in_chunks(job: str, numbers: range) -> None:
    TASKS[job].chunks([(number,) for number in numbers], 100).delay()


def result(sent: Any) -> None:
    sent.get(timeout=60)
