"""RabbitMQ as the broker: confirmed, in quorum queues, and delayed tasks wait in the broker."""

from collections.abc import Iterator

import pytest
from kombu import Connection
from live_service import Service, kill, running_service, wait_until

from {{ cookiecutter.__package_slug }}.queues import Queue

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service")) as service:
        yield service


def test_a_delayed_task_reaches_a_queue_that_no_worker_serves_yet(service: Service) -> None:
    with service.worker("--queues", Queue.IO):
        service.value(service.send("hello.greet", "Ada", queue=Queue.IO))
        later = service.send("hello.greet", "Grace", queue=Queue.CPU, countdown=1)
        wait_until(lambda: service.waiting(Queue.CPU), "the task to be due")
    with service.worker():
        assert service.value(later) == "Hello, Grace!"


def test_a_delayed_task_waits_in_the_broker_while_workers_come_and_go(service: Service) -> None:
    with service.worker() as worker:
        service.value(service.send("hello.greet", "Ada"))
        later = service.send("hello.greet", "Grace", countdown=2)
        kill(worker)

    wait_until(lambda: service.waiting(Queue.DEFAULT), "the task to be due")
    with service.worker():
        assert service.value(later) == "Hello, Grace!"


def test_a_task_that_the_broker_does_not_accept_is_an_error(service: Service) -> None:
    with pytest.raises(Connection("amqp://").channel_errors):
        service.send("hello.greet", "Ada", exchange="nowhere", routing_key="nowhere")
