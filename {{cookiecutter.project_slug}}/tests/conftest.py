"""A real worker in the test process, on a broker in memory."""

import os
#{% if cookiecutter.include_sqlalchemy or cookiecutter.include_examples %}
import tempfile
#{% endif %}
import threading
from collections.abc import Iterator
#{% if cookiecutter.include_examples %}
from pathlib import Path
#{% endif %}

#{% if cookiecutter.include_api %}
import httpx2
#{% endif %}
import pytest

# Set before the package is imported, because it reads its settings then. The environment wins over
# `.env` and over a `dev` that runs in another terminal.
#{% if cookiecutter.include_sqlalchemy or cookiecutter.include_examples %}
_scratch = tempfile.TemporaryDirectory(prefix="{{ cookiecutter.project_slug }}-")
#{% endif %}
os.environ |= {
    "CELERY_BROKER_URL": "memory://",
    "CELERY_RESULT_BACKEND": "cache+memory://",
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
#{% if cookiecutter.include_api %}
from api_service import serving
#{% endif %}
from celery import signals
from celery.app.task import Context
from celery.contrib.testing.worker import start_worker
from celery.worker.request import Request
#{% if cookiecutter.include_api %}
from live_api import Api, running_api
#{% endif %}
from live_service import Service, running_service, wait_until

#{% if "redis" in [cookiecutter.__broker, cookiecutter.__result_backend] and cookiecutter.include_examples %}
from {{ cookiecutter.__package_slug }} import redis_leases, storage
#{% endif %}
#{% if "redis" in [cookiecutter.__broker, cookiecutter.__result_backend] and not cookiecutter.include_examples %}
from {{ cookiecutter.__package_slug }} import redis_leases
#{% endif %}
#{% if "redis" not in [cookiecutter.__broker, cookiecutter.__result_backend] and cookiecutter.include_sqlalchemy and cookiecutter.include_examples %}
from {{ cookiecutter.__package_slug }} import database, storage
#{% endif %}
#{% if "redis" not in [cookiecutter.__broker, cookiecutter.__result_backend] and cookiecutter.include_sqlalchemy and not cookiecutter.include_examples %}
from {{ cookiecutter.__package_slug }} import database
#{% endif %}
#{% if "redis" not in [cookiecutter.__broker, cookiecutter.__result_backend] and not cookiecutter.include_sqlalchemy and cookiecutter.include_examples %}
from {{ cookiecutter.__package_slug }} import storage
#{% endif %}
from {{ cookiecutter.__package_slug }}.broker import DEAD_LETTERS_QUEUE
from {{ cookiecutter.__package_slug }}.celery import app
#{% if "redis" in [cookiecutter.__broker, cookiecutter.__result_backend] %}
from {{ cookiecutter.__package_slug }}.embedded_broker import running
#{% endif %}
#{% if "redis" not in [cookiecutter.__broker, cookiecutter.__result_backend] and cookiecutter.include_sqlalchemy %}
from {{ cookiecutter.__package_slug }}.run_async import run_async
#{% endif %}
#{% if cookiecutter.include_examples or cookiecutter.include_sqlalchemy or "redis" in [cookiecutter.__broker, cookiecutter.__result_backend] %}
from {{ cookiecutter.__package_slug }}.settings import Settings
#{% endif %}


@pytest.fixture(scope="session")
def running_worker() -> Iterator[None]:
    """Tasks run as they do in production: sent as messages, taken from a queue by a worker."""
    app.loader.import_default_modules()
    # A queue that two threads make at the same moment loses what is in it.
    with app.connection_for_write() as connection:
        DEAD_LETTERS_QUEUE(connection.default_channel).declare()
    # Both poll; their defaults of a second would make every test wait that long.
    app.conf.broker_transport_options = {"polling_interval": 0.01}
    stopped = threading.Event()

    def wake_worker_until_stopped() -> None:
        # An idle consumer notices that it should stop only when a message comes.
        while not stopped.wait(0.01):
            app.control.broadcast("heartbeat")

    waker = threading.Thread(target=wake_worker_until_stopped)
    with start_worker(app, pool="threads", concurrency=4, perform_ping_check=False):
        yield
        waker.start()
    stopped.set()
    waker.join()


@pytest.fixture
def worker(running_worker: None) -> Iterator[None]:
    """What a test sends and does not wait for ends before the next one begins."""
    sent: set[str] = set()
    revoked: set[str] = set()
    received: list[Request] = []

    def send(headers: dict[str, str], **_: object) -> None:
        sent.add(headers["id"])

    def revoke(request: Context, **_: object) -> None:
        revoked.add(str(request.id))

    def receive(request: Request, **_: object) -> None:
        received.append(request)

    def is_settled() -> bool:
        known = revoked.union(request.id for request in received)
        return sent <= known and all(request.acknowledged for request in received)

    signals.after_task_publish.connect(send)
    signals.task_revoked.connect(revoke)
    signals.task_received.connect(receive)
    yield
    wait_until(is_settled, "the tasks of this test")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A broker and a worker as processes of their own, for the tests of one file."""
    with running_service(tmp_path_factory.mktemp("service")) as service, service.worker():
        yield service


#{% if cookiecutter.include_api %}
@pytest.fixture(scope="module")
def live_api(service: Service) -> Iterator[Api]:
    with running_api(service) as api:
        yield api


@pytest.fixture(scope="session")
def api() -> Iterator[httpx2.Client]:
    with serving() as client:
        yield client


#{% endif %}
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What became of the tasks in the tests that break something."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            if found := report.user_properties:
                told = ", ".join(f"{name} {value}" for name, value in found)
                terminalreporter.write_line(f"{report.head_line}: {told}")
#{% if cookiecutter.include_examples %}


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once: Celery's shortest pause is a second."""
    monkeypatch.setattr("celery.app.autoretry.get_exponential_backoff_interval", lambda **_: 0)


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
#{% if "redis" in [cookiecutter.__broker, cookiecutter.__result_backend] %}


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server that keeps locks and what ran once, and the variable that leads there."""
    folder = tmp_path_factory.mktemp("shared")
    with running(folder) as server, pytest.MonkeyPatch.context() as patch:
        settings = Settings(_env_file=None, locks_url=server.url(0))
        patch.setattr(redis_leases, "settings", settings)
        yield {"LOCKS_URL": settings.locks_url}
        redis_leases.client().close()
        redis_leases.client.cache_clear()
#{% endif %}
#{% if "redis" not in [cookiecutter.__broker, cookiecutter.__result_backend] and cookiecutter.include_sqlalchemy %}


@pytest.fixture(scope="module")
def shared() -> Iterator[dict[str, str]]:
    """A table that keeps locks and what ran once, and the variable that leads there.

    It is in PostgreSQL where TEST_DATABASE_URL names one.
    """
    url = os.environ.get("TEST_DATABASE_URL", os.environ["DATABASE_URL"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "settings", Settings(_env_file=None, database_url=url))
        database.engine.cache_clear()
        command.upgrade(Config("alembic.ini"), "head")
        yield {"DATABASE_URL": url}
        command.downgrade(Config("alembic.ini"), "base")
        run_async(database.engine().dispose())
        database.engine.cache_clear()
#{% endif %}
