"""RabbitMQ as the broker: confirmed, in quorum queues, and delayed tasks wait in the broker."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from kombu import Connection
from live_service import Service, kill, running_service, wait_until

from {{ cookiecutter.__package_slug }}.celery import app
from {{ cookiecutter.__package_slug }}.queues import Queue
from {{ cookiecutter.__package_slug }}.settings import Settings


def test_unless_it_is_set_it_is_a_rabbitmq_as_installed_on_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CELERY_BROKER_URL")
    given = Connection(Settings(_env_file=None).celery_broker_url)

    assert given.info() == Connection("amqp://").info()


def test_events_have_the_connection_whose_heartbeats_celery_keeps_up() -> None:
    given: Any = Connection("memory://", transport_options={"confirm_publish": True})
    dispatcher: Any = app.events.Dispatcher(given, enabled=False)

    assert dispatcher.connection is given
    assert given.transport_options["confirm_publish"] is False


def test_events_leave_a_connection_that_tasks_are_sent_over_as_it_is() -> None:
    given: Any = Connection("memory://", transport_options={"confirm_publish": True})
    app.events.Dispatcher(given, enabled=False, channel=given.default_channel)

    assert given.transport_options["confirm_publish"] is True


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.mark.live
@pytest.mark.timeout(240)
def test_a_delayed_task_reaches_a_queue_that_no_worker_serves_yet(service: Service) -> None:
    with service.sender.connection_for_write() as connection:
        # As if the server were new.
        queue: Any = service.sender.amqp.queues[Queue.CPU](connection.default_channel)
        queue.delete()
    with service.worker("--queues", Queue.IO):
        service.value(service.send("hello.greet", "Ada", queue=Queue.IO))
        later = service.send("hello.greet", "Grace", queue=Queue.CPU, countdown=1)
        wait_until(lambda: service.waiting(Queue.CPU), "the task to be due")
    with service.worker():
        assert service.value(later) == "Hello, Grace!"


@pytest.mark.live
@pytest.mark.timeout(240)
def test_a_delayed_task_waits_in_the_broker_while_workers_come_and_go(service: Service) -> None:
    with service.worker() as worker:
        # Killed before it acknowledges this one, the worker would leave it in that queue.
        service.value(service.send("hello.greet", "Ada", queue=Queue.IO))
        sent = time.monotonic()
        later = service.send("hello.greet", "Grace", countdown=5)
        kill(worker)

    wait_until(lambda: service.waiting(Queue.DEFAULT), "the task to be due")
    # The broker would have what a worker held again at once.
    assert time.monotonic() - sent >= 4
    with service.worker():
        assert service.value(later) == "Hello, Grace!"


@pytest.mark.live
@pytest.mark.timeout(240)
def test_a_task_that_the_broker_does_not_accept_is_an_error(service: Service) -> None:
    with pytest.raises(Connection("amqp://").channel_errors):
        service.send("hello.greet", "Ada", exchange="nowhere", routing_key="nowhere")
