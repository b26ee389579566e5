"""No result is kept: a job is submitted by its id, and the log shows what becomes of it."""

from collections.abc import Generator
from threading import Event

import pytest
import structlog
from celery.backends.base import DisabledBackend
from structlog.testing import capture_logs
from test_cli import submit

from {{ cookiecutter.__package_slug }} import progress
from {{ cookiecutter.__package_slug }}.celery import app
from {{ cookiecutter.__package_slug }}.jobs import Progress, hello
from {{ cookiecutter.__package_slug }}.progress import publish
from {{ cookiecutter.__package_slug }}.settings import Settings


@pytest.mark.usefixtures("worker")
def test_a_job_that_is_submitted_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    greeted = Event()
    monkeypatch.setattr(hello, "greet", lambda name: greeted.set())
    status, output, errors = submit("hello.greet", "name=Ada")

    assert (status, output) == (0, "")
    assert errors.startswith("submitted hello.greet, id ")
    assert greeted.wait(10)


def test_progress_goes_to_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    # One that has been used keeps what structlog was configured to do then.
    monkeypatch.setattr(progress, "log", structlog.stdlib.get_logger())

    def job() -> Generator[Progress, None, str]:
        yield Progress(1, 2, "half")
        yield Progress(2, 2, "all")
        return "done"

    with capture_logs() as lines:
        assert publish(job()) == "done"

    # The second one came at once, and so is not worth a line.
    half = {"done": 1, "total": 2, "note": "half"}
    assert lines == [{"event": "progress", "log_level": "info", **half}]


def test_nothing_is_stored_unless_a_store_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CELERY_RESULT_BACKEND")
    settings = Settings(_env_file=None)
    service = type(app)(backend=settings.celery_result_backend, set_as_current=False)

    assert settings.celery_result_backend is None
    assert isinstance(service.backend, DisabledBackend)
