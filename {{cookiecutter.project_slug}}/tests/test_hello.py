"""The smallest job, called directly and through a worker."""

import pytest

from {{ cookiecutter.__package_slug }}.jobs import hello
from {{ cookiecutter.__package_slug }}.tasks.hello import greet


def test_job_greets_by_name() -> None:
    assert hello.greet("Ada") == "Hello, Ada!"


@pytest.mark.usefixtures("worker")
def test_worker_greets_by_name() -> None:
    assert greet.delay("Ada").get(timeout=10, interval=0.01) == "Hello, Ada!"
