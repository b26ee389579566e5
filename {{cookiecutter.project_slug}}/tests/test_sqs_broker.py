"""Amazon SQS as the broker: queues that were made beforehand, and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu.transport.SQS import UndefinedQueueException
from live_service import Service, running_service

from {{ cookiecutter.__package_slug }}.settings import Settings


@pytest.mark.parametrize(
    ("prefix", "broker"),
    [
        ("https://sqs.eu-north-1.amazonaws.com/1234/jobs-", "sqs://sqs.eu-north-1.amazonaws.com"),
        ("http://localhost:5000/1234/jobs-", "sqs://localhost:5000"),
    ],
)
def test_the_broker_is_where_the_queues_are(
    monkeypatch: pytest.MonkeyPatch, prefix: str, broker: str
) -> None:
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    monkeypatch.setenv("SQS_QUEUE_URL_PREFIX", prefix)

    assert Settings(_env_file=None).celery_broker_url == broker


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service")) as service, service.worker():
        yield service


@pytest.mark.live
@pytest.mark.timeout(240)
def test_a_queue_that_was_not_made_beforehand_is_not_used(service: Service) -> None:
    with (
        service.sender.connection_for_write() as connection,
        pytest.raises(UndefinedQueueException),
    ):
        connection.SimpleQueue("another")


@pytest.mark.live
@pytest.mark.timeout(240)
def test_a_task_that_is_revoked_runs_all_the_same(service: Service, tmp_path: Path) -> None:
    with service.busy(tmp_path):
        result = service.send("hello.greet", "Ada")
        result.revoke()

    assert service.value(result) == "Hello, Ada!"
