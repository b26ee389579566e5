"""The part of a worker that talks to the broker."""

from typing import Any

import pytest
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu import Connection
from kombu.transport import memory

from {{ cookiecutter.__package_slug }}.consumer import Consumer


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
