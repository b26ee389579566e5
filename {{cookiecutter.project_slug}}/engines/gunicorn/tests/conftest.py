"""Real consumers in the test process, as the processes of the service have them."""

import os
import tempfile
import time
from collections.abc import Iterator
#{% if cookiecutter.include_examples %}
from pathlib import Path
#{% endif %}

import httpx2
import pytest

# Set before the package is imported, because it reads its settings then. The environment wins over
# `.env` and over a `dev` that runs in another terminal.
_scratch = tempfile.TemporaryDirectory(prefix="{{ cookiecutter.project_slug }}-")
os.environ |= {
    "JOBS_DIR": f"{_scratch.name}/jobs",
    #{% if cookiecutter.include_sqlalchemy %}
    "DATABASE_URL": f"sqlite+aiosqlite:///{_scratch.name}/database.sqlite3",
    #{% endif %}
    #{% if cookiecutter.include_aiocache %}
    "CACHE_URL": "memory://",
    #{% endif %}
    #{% if cookiecutter.include_examples %}
    "DATA_DIR": f"{_scratch.name}/data",
    #{% endif %}
}

#{% if cookiecutter.include_sqlalchemy %}
from alembic import command
from alembic.config import Config
#{% endif %}
from api_service import serving

#{% if cookiecutter.include_examples %}
from {{ cookiecutter.__package_slug }} import storage
#{% endif %}
from {{ cookiecutter.__package_slug }}.dirty import consumer
from {{ cookiecutter.__package_slug }}.dirty.jobs import board, tasks
from {{ cookiecutter.__package_slug }}.dirty.task import Task
from {{ cookiecutter.__package_slug }}.queues import PROCESSES
#{% if cookiecutter.include_examples %}
from {{ cookiecutter.__package_slug }}.settings import Settings
#{% endif %}

# Seconds for what takes no time.
TIMEOUT = 10


@pytest.fixture(scope="session")
def running_worker() -> Iterator[None]:
    """Jobs run as they do in production: written down, and taken from a queue."""
    with pytest.MonkeyPatch.context() as patch:
        # What is to be tried again is due at once.
        patch.setattr(consumer, "LOOK_EVERY", 0.01)
        consumers = [
            consumer.Consumer(board(), queue, tasks)
            for queue, count in PROCESSES.items()
            for _ in range(count)
        ]
        for thread in consumers:
            thread.start()
        yield
        for thread in consumers:
            assert thread.end(TIMEOUT), f"{thread.name} does not end"
        for thread in consumers:
            thread.join(TIMEOUT)


@pytest.fixture
def worker(running_worker: None) -> Iterator[None]:
    """What a test submits and does not wait for ends before the next one begins."""
    yield
    deadline = time.monotonic() + TIMEOUT
    while any(board().waiting().values()) or board().running():
        assert time.monotonic() < deadline, "the jobs of this test do not end"
        time.sleep(0.01)


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr(Task, "pause", lambda task, retries: 0)


@pytest.fixture(scope="session")
def api() -> Iterator[httpx2.Client]:
    with serving() as client:
        yield client


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the tests have measured."""
    for report in terminalreporter.getreports("passed"):
        if found := report.user_properties:
            told = ", ".join(f"{name} {value}" for name, value in found)
            terminalreporter.write_line(f"{report.head_line}: {told}")
#{% if cookiecutter.include_examples %}


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The shared folder of the example jobs, empty at first."""
    monkeypatch.setattr(storage, "settings", Settings(_env_file=None, data_dir=tmp_path))
    return tmp_path
#{% endif %}
#{% if cookiecutter.include_sqlalchemy %}


@pytest.fixture(scope="module")
def migrated() -> Iterator[Config]:
    """A database with all tables, for the tests of one file."""
    config = Config("alembic.ini")
    command.upgrade(config, "head")
    yield config
    command.downgrade(config, "base")
#{% endif %}
