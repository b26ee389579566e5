"""The part of a worker that talks to the broker."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from billiard.einfo import ExceptionInfo
from celery.exceptions import Terminated
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu import Connection, Message
from kombu.transport import memory

from {{ cookiecutter.__package_slug }}.celery import app
from {{ cookiecutter.__package_slug }}.consumer import Consumer
from {{ cookiecutter.__package_slug }}.request import Request
from {{ cookiecutter.__package_slug }}.tasks.hello import greet


def test_a_connection_that_breaks_is_not_replaced_by_one_without_consumers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drained: list[Any] = []

    # Its own, because a worker that other tests share drains from Kombu's at the same time.
    class Transport(memory.Transport):
        def drain_events(self, connection: Any, timeout: Any = None, **_: Any) -> None:
            drained.append(connection)

    with Connection(transport=Transport) as known:
        monkeypatch.setattr(CeleryConsumer, "connect", lambda _: known)
        connection = Consumer.connect(Consumer.__new__(Consumer))
        established = known.connection
        known.collect()
        connection.drain_events()

    assert drained == [established]


def test_what_is_cancelled_runs_again_though_its_results_are_away_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def be_away(*_: Any, **__: Any) -> None:
        raise ConnectionError

    def be_told(*_: Any) -> None:
        told.append("acknowledged")

    told: list[str] = []
    monkeypatch.setattr(type(app.backend), "mark_as_retry", be_away)
    sent = app.amqp.as_task_v2("1", "hello.greet", ("Ada",))
    body, kind = json.dumps(sent.body), "application/json"
    message = Message(body, headers=sent.headers, content_type=kind, content_encoding="utf-8")
    cancelled: Any = Request(message, be_told, app=app, task=greet)
    cancelled.time_start = 1.0
    pool: Any = SimpleNamespace(terminate_job=lambda *_: None)
    with pytest.raises(ConnectionError):
        cancelled.cancel(pool)
    try:
        raise Terminated
    except Terminated:
        cancelled.on_failure(ExceptionInfo())

    assert told == []
