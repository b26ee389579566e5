"""Sending a task ends in time, with a task that the broker has or with one error."""

import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kombu.exceptions import OperationalError
from live_service import leading_to, sending_to
from typer.testing import CliRunner

from {{ cookiecutter.__package_slug }} import cli, sending
from {{ cookiecutter.__package_slug }}.celery import app
from {{ cookiecutter.__package_slug }}.settings import Settings


@pytest.fixture(autouse=True)
def publish_timeout(monkeypatch: pytest.MonkeyPatch) -> float:
    seconds = 0.2
    monkeypatch.setattr(sending, "settings", Settings(_env_file=None, publish_timeout=seconds))
    return seconds


@pytest.fixture(params=["nobody listens", "nobody answers"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        if request.param == "nobody listens":
            listener.close()
        yield port


def test_who_sends_a_task_soon_learns_that_the_broker_is_away(
    port: int, publish_timeout: float
) -> None:
    with sending_to(leading_to(port)) as sender:
        started = time.monotonic()
        with pytest.raises(OperationalError):
            sender.send_task("hello.greet", ("Ada",))
        waited = time.monotonic() - started

    # Twice the time-out is promised; the rest is for a machine that is busy.
    assert waited < 2 * publish_timeout + 3


def test_who_sends_a_batch_soon_learns_that_the_broker_is_away(
    port: int, publish_timeout: float
) -> None:
    def send(sender: Any) -> None:
        with sender.batch():
            for name in ("Ada", "Bob"):
                sender.send_task("hello.greet", (name,))

    with sending_to(leading_to(port)) as sender:
        started = time.monotonic()
        with pytest.raises(OperationalError):
            send(sender)
        waited = time.monotonic() - started

    assert waited < 2 * publish_timeout + 3


def test_a_broker_that_comes_back_in_time_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[str] = []

    def come_back_later(*args: object, **options: object) -> None:
        attempts.append("sent")
        if len(attempts) < 3:
            raise OperationalError("away")

    monkeypatch.setattr(app.amqp, "send_task_message", come_back_later)
    app.send_task("hello.greet", ("Ada",))

    assert len(attempts) == 3


def test_each_attempt_is_the_same_task(monkeypatch: pytest.MonkeyPatch) -> None:
    ids: list[str] = []

    def come_back_later(producer: object, name: str, message: Any, **_: object) -> None:
        ids.append(message[0]["id"])
        if len(ids) < 2:
            raise OperationalError("away")

    monkeypatch.setattr(app.amqp, "send_task_message", come_back_later)
    result = app.send_task("hello.greet", ("Ada",))

    assert ids == [result.id, result.id]


def test_submit_says_that_the_broker_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def be_away(*args: object, **options: object) -> None:
        raise OperationalError("nobody listens")

    monkeypatch.setattr(app.amqp, "send_task_message", be_away)
    told = CliRunner().invoke(cli.app, ["submit", "hello.greet", "name=Ada"])

    assert told.exit_code == 1
    assert "does not answer: nobody listens" in told.stdout
    assert "set CELERY_BROKER_URL" in told.stdout
