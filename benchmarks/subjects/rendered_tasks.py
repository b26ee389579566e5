"""What the benchmark has a rendered project do: a module of its tasks while it is measured."""

import workload
from celery import shared_task

from ..run_async import run_async


@shared_task(name="benchmark.nothing")
def nothing(number: int) -> None:
    workload.nothing(number)


@shared_task(name="benchmark.wait")
def wait(number: int) -> None:
    workload.wait(number)


@shared_task(name="benchmark.wait_async")
def wait_async(number: int) -> None:
    run_async(workload.wait_async(number))


@shared_task(name="benchmark.compute")
def compute(number: int) -> None:
    workload.compute(number)


@shared_task(name="benchmark.fetch")
def fetch(number: int) -> None:
    run_async(workload.fetch(number))
