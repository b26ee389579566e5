"""A message that is no task is kept, and the worker goes on with the next one."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from live_service import Service, running_service

from {{ cookiecutter.__package_slug }}.queues import Queue

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

GOOD: dict[str, Any] = {"id": "1", "task": "hello.greet"}
BODY = '[["Ada"], {}, {}]'
# What it is, its body, its headers, and how it says to read it.
KINDS: dict[str, tuple[str | bytes, dict[str, Any], dict[str, str]]] = {
    "no JSON": ("{", GOOD, {}),
    "empty": ("", GOOD, {}),
    "null": ("null", GOOD, {}),
    "a number": ("5", GOOD, {}),
    "a mapping": ('{"name": "Ada"}', GOOD, {}),
    "arguments alone": ('[["Ada"]]', GOOD, {}),
    "arguments that are no list": ('["Ada", {}, {}]', GOOD, {}),
    "the word args": ('["args", {}, {}]', GOOD, {}),
    "keywords that are no mapping": ('[["Ada"], 5, {}]', GOOD, {}),
    "a rest that is no mapping": ('[["Ada"], {}, 5]', GOOD, {}),
    "no headers": (BODY, {}, {}),
    "no name": (BODY, {"id": "1"}, {}),
    "a name that is a list": (BODY, GOOD | {"task": ["hello.greet"]}, {}),
    "no id": (BODY, {"task": "hello.greet"}, {}),
    "an id that is a list": (BODY, GOOD | {"id": ["1"]}, {}),
    "an earlier protocol": ('{"id": "1", "task": "hello.greet", "args": ["Ada"]}', {}, {}),
    "a date that is none": (BODY, GOOD | {"eta": "soon"}, {}),
    "a date that is a number": (BODY, GOOD | {"eta": 5}, {}),
    "a date beyond all times": (BODY, GOOD | {"eta": "0001-01-01T00:00:00+14:00"}, {}),
    "an end that is none": (BODY, GOOD | {"expires": "later"}, {}),
    "a limit that is none": (BODY, GOOD | {"timelimit": "long"}, {}),
    "a number that is text": (BODY, GOOD | {"retries": "many"}, {}),
    "a stamp that is none": (BODY, GOOD | {"stamped_headers": 5}, {}),
    "not compressed": (BODY, GOOD | {"compression": "application/x-gzip"}, {}),
    "pickle": (b"\x80\x04N.", GOOD, {"content_type": "application/x-python-serialize"}),
    "an unknown type": (BODY, GOOD, {"content_type": "application/x-tar"}),
    "an unknown encoding": (b"[]", GOOD, {"content_encoding": "utf-17"}),
}


@pytest.fixture(scope="module")
def worker(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Service, "subprocess.Popen[bytes]"]]:
    with (
        running_service(tmp_path_factory.mktemp("service")) as service,
        service.worker() as process,
    ):
        yield service, process


def publish(service: Service, body: str | bytes, headers: dict[str, Any], **options: Any) -> None:
    """As whoever writes to the queue without Celery."""
    queue: Any = service.sender.amqp.queues[Queue.DEFAULT]
    kind = {"content_type": "application/json", "content_encoding": "utf-8"} | options
    with service.sender.producer_pool.acquire(block=True) as producer:
        producer.publish(
            body,
            exchange=queue.exchange,
            routing_key=queue.routing_key,
            declare=[queue],
            headers=headers,
            **kind,
        )


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_that_is_no_task_is_kept_and_the_next_one_runs(
    worker: tuple[Service, "subprocess.Popen[bytes]"], kind: str
) -> None:
    service, process = worker
    body, headers, options = KINDS[kind]
    publish(service, body, headers, **options)
    result = service.send("hello.greet", "Grace")

    assert service.dead_letter()["reason"] == "malformed"
    assert service.value(result) == "Hello, Grace!"
    assert process.poll() is None


def test_a_task_that_nobody_knows_is_kept_and_whoever_waits_is_told(
    worker: tuple[Service, "subprocess.Popen[bytes]"],
) -> None:
    service, _ = worker
    unknown = service.send("probe.forgotten")
    letter = service.dead_letter()

    assert (letter["reason"], letter["id"]) == ("unknown task", unknown.id)
    with pytest.raises(Exception, match=r"probe\.forgotten"):
        service.value(unknown)


def test_a_task_with_wrong_arguments_is_kept(
    worker: tuple[Service, "subprocess.Popen[bytes]"],
) -> None:
    service, _ = worker
    service.send("hello.greet", "Ada", "Grace")

    assert "TypeError" in service.dead_letter()["error"]
