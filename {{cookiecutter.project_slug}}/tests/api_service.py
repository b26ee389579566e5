"""The API over real HTTP, in the test process, beside the worker that runs there."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
#{% if cookiecutter.__result_backend == "none" %}
from typing import Any
#{% endif %}
#{% if cookiecutter.__result_backend != "none" %}
from typing import Any, NoReturn
#{% endif %}

import httpx2
import pytest
#{% if cookiecutter.__result_backend == "none" %}
import uvicorn
from kombu.exceptions import OperationalError
#{% endif %}
#{% if cookiecutter.__result_backend != "none" %}
from celery import current_task
from kombu.exceptions import OperationalError
from memory_store import MemoryStore
from uvicorn import Config
#{% endif %}

from {{ cookiecutter.__package_slug }}.api import application, publisher
#{% if cookiecutter.__result_backend != "none" %}
from {{ cookiecutter.__package_slug }}.api.server import Server
#{% endif %}
from {{ cookiecutter.__package_slug }}.celery import app
from {{ cookiecutter.__package_slug }}.settings import Settings

KEYS = ["sixteen-characters", "another-of-sixteen"]
KEY = KEYS[0]
# Bytes.
MAX_BODY = 2000
# Seconds for what takes no time.
TIMEOUT = 10
# What sends a job, what looks whether one could be sent, and what they raise when that is not so.
SEND = (app, "send_task")
REACH = (publisher, "prompt_connection")
AWAY = OperationalError("away")


def task_names() -> set[str]:
    return set(app.tasks)


#{% if cookiecutter.__result_backend != "none" %}
def retry() -> NoReturn:
    """Have the job that runs be run again, at once."""
    raise current_task.retry(countdown=0)


def is_watched() -> bool:
    """Whether anybody waits for news of a job."""
    return bool(MemoryStore.running[-1].watchers.keys())


def forget_all() -> None:
    """As if nothing had been submitted yet."""
    MemoryStore.running[-1].forget_all()


#{% endif %}
@contextmanager
def serving(**changed: Any) -> Iterator[httpx2.Client]:
    """The API with these settings, and a client that has the key."""
    with pytest.MonkeyPatch.context() as patch:
        usual: dict[str, Any] = {"api_rate_limit": "100000/second", "api_max_body": MAX_BODY}
        settings = Settings(_env_file=None, api_key=",".join(KEYS), **usual | changed)
        patch.setattr(application, "settings", settings)
        #{% if cookiecutter.__result_backend == "none" %}
        configuration = uvicorn.Config(application.create_app(), port=0, log_config=None)
        server = uvicorn.Server(configuration)
        #{% endif %}
        #{% if cookiecutter.__result_backend != "none" %}
        patch.setattr(application, "ResultStore", MemoryStore)
        server = Server(Config(application.create_app(), port=0, log_config=None))
        #{% endif %}
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            deadline = time.monotonic() + TIMEOUT
            while not server.started:
                assert time.monotonic() < deadline, "the API did not start"
                time.sleep(0.001)
            host, port = server.servers[0].sockets[0].getsockname()
            headers = {"X-API-Key": KEY}
            with httpx2.Client(
                base_url=f"http://{host}:{port}", headers=headers, timeout=TIMEOUT, trust_env=False
            ) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(TIMEOUT)
            assert not thread.is_alive(), "the API does not end"
