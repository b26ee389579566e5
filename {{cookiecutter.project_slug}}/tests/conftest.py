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

from celery.contrib.testing.worker import start_worker

#{% if cookiecutter.include_examples %}
from {{ cookiecutter.__package_slug }} import storage
#{% endif %}
from {{ cookiecutter.__package_slug }}.celery import app
#{% if cookiecutter.include_examples %}
from {{ cookiecutter.__package_slug }}.settings import Settings
#{% endif %}


@pytest.fixture(scope="session")
def worker() -> Iterator[None]:
    """Tasks run as they do in production: sent as messages, taken from a queue by a worker."""
    app.loader.import_default_modules()
    # Both poll; their defaults of a second would make every test wait that long.
    app.conf.broker_transport_options = {"polling_interval": 0.01}
    #{% if cookiecutter.include_flower %}
    app.conf.worker_send_task_events = False
    #{% endif %}
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
#{% if cookiecutter.include_examples %}


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The shared folder of the example jobs, empty at first."""
    monkeypatch.setattr(storage, "settings", Settings(_env_file=None, data_dir=tmp_path))
    return tmp_path
#{% endif %}
