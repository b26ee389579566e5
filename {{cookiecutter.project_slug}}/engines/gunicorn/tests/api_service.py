"""The API over real HTTP, in the test process, beside the consumers that run there."""

import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any, NoReturn

import httpx2
import pytest
import uvicorn

from {{ cookiecutter.__package_slug }}.api import application
from {{ cookiecutter.__package_slug }}.api.board_store import BoardStore
from {{ cookiecutter.__package_slug }}.dirty import jobs
from {{ cookiecutter.__package_slug }}.settings import Settings, settings

KEYS = ["sixteen-characters", "another-of-sixteen"]
KEY = KEYS[0]
# Bytes.
MAX_BODY = 2000
# Seconds for what takes no time.
TIMEOUT = 10
# What takes a job, what looks whether one could be taken, and what they raise when that is not so.
SEND = (jobs, "submit")
REACH = (jobs, "board")
AWAY = sqlite3.OperationalError("away")

running: list[BoardStore] = []


class Again(Exception):
    """To be tried again for it."""


def task_names() -> set[str]:
    return set(jobs.tasks())


def retry() -> NoReturn:
    """Have the job that runs be run again, at once."""
    raise Again


def is_watched() -> bool:
    """Whether anybody waits for news of a job."""
    return bool(running[-1].watchers.keys())


def forget_all() -> None:
    """As if nothing had been submitted yet."""
    # The first look makes the tables: nobody may have looked so far.
    jobs.board().waiting()
    with closing(sqlite3.connect(settings.jobs_dir / "jobs.sqlite3")) as connection, connection:
        connection.execute("DELETE FROM jobs")
        connection.execute("DELETE FROM idempotency_keys")


class Server(uvicorn.Server):
    """Ends those first who watch, as Gunicorn does."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.app.state.store.end_watching()  # type: ignore[union-attr]
        await super().shutdown(sockets)


@contextmanager
def serving(**changed: Any) -> Iterator[httpx2.Client]:
    """The API with these settings, and a client that has the key."""
    greet = jobs.tasks()["hello.greet"]
    if Again not in greet.autoretry_for:
        jobs.tasks()["hello.greet"] = replace(
            greet, autoretry_for=(Again,), retry_backoff=True, retry_backoff_max=0
        )
    with pytest.MonkeyPatch.context() as patch:
        usual: dict[str, Any] = {"api_rate_limit": "100000/second", "api_max_body": MAX_BODY}
        chosen = Settings(_env_file=None, api_key=",".join(KEYS), **usual | changed)
        patch.setattr(application, "settings", chosen)
        app = application.create_app()
        server = Server(uvicorn.Config(app, port=0, log_config=None))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            deadline = time.monotonic() + TIMEOUT
            while not server.started:
                assert time.monotonic() < deadline, "the API did not start"
                time.sleep(0.001)
            running.append(app.state.store)
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
            running.remove(app.state.store)
