"""Amazon SQS as the broker: queues that were made beforehand, and nothing else."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kombu.transport.SQS import UndefinedQueueException
from live_service import TIMEOUT, Service, kill, running_service, wait_until
from pydantic import ValidationError

from {{ cookiecutter.__package_slug }}.queues import Queue
from {{ cookiecutter.__package_slug }}.settings import Settings
from {{ cookiecutter.__package_slug }}.sqs_transport import Channel


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


def test_what_sqs_would_claim_for_nobody_is_refused() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 43200"):
        Settings(_env_file=None, visibility_timeout=43_201)


def test_an_sqs_that_cannot_be_reached_ends_no_worker() -> None:
    without_connection = Channel.__new__(Channel)

    # Kombu's word for it is a list where a dictionary should be.
    assert without_connection._on_messages_ready("url", Queue.DEFAULT, []) == 0


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
@pytest.mark.parametrize(
    "text", ["Hello", "[]", "{}", '{"properties": 5}', '{"headers": 5, "properties": {}}']
)
def test_a_text_of_somebody_elses_is_kept(service: Service, text: str) -> None:
    with service.sender.connection_for_write() as connection:
        channel: Any = connection.default_channel
        url = channel.predefined_queues[Queue.IO]["url"]
        channel.sqs(queue=Queue.IO).send_message(QueueUrl=url, MessageBody=text)
    letter = service.dead_letter()

    assert (letter["reason"], letter["queue"]) == ("malformed", Queue.IO)
    assert service.value(service.send("hello.greet", "Ada")) == "Hello, Ada!"


@pytest.mark.live
@pytest.mark.timeout(240)
def test_a_task_that_is_revoked_runs_all_the_same(service: Service, tmp_path: Path) -> None:
    with service.busy(tmp_path):
        result = service.send("hello.greet", "Ada")
        result.revoke()

    assert service.value(result) == "Hello, Ada!"


def stop(worker: "subprocess.Popen[bytes]") -> None:
    worker.terminate()
    assert worker.wait(TIMEOUT) == 0


def wait_until_it_asks_for_messages(worker_is_ready: Path) -> None:
    for _ in range(2):
        wait_until(worker_is_ready.exists, "the worker to be ready")
        worker_is_ready.unlink()


@pytest.mark.live
@pytest.mark.timeout(240)
@pytest.mark.parametrize("end", [stop, kill])
def test_a_task_sent_just_after_its_worker_has_gone_runs_before_the_visibility_timeout(
    tmp_path: Path, end: Callable[["subprocess.Popen[bytes]"], None]
) -> None:
    hour = {"VISIBILITY_TIMEOUT": "3600", "HEALTH_DIR": str(tmp_path)}
    with running_service(tmp_path, **hour) as idle:
        with idle.worker() as leaving:
            wait_until_it_asks_for_messages(tmp_path / "ready")
            end(leaving)
        sent = idle.send("hello.greet", "Ada")

        with idle.worker():
            assert idle.value(sent) == "Hello, Ada!"
