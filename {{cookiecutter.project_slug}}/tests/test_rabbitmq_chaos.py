"""RabbitMQ itself breaks while tasks are sent all the time: none is lost that it has accepted."""

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from chaos import Load, Record, service_under_load
from live_service import TIMEOUT, wait_until

from {{ cookiecutter.__package_slug }}.celery import app

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]
# Seconds that RabbitMQ takes no task.
OUTAGE = 10
# So long that a worker misses it: after two of its heartbeats.
SILENCE = 2.5 * app.conf.broker_heartbeat
# It ends at once, as one that is killed, and also where nobody may kill it: as first process of a
# container.
END_AT_ONCE = "erlang:halt(137, [{flush, false}])."


@pytest.fixture
def control() -> Callable[..., bool]:
    """What tells the server that TEST_BROKER_URL names what to do."""
    if "RABBITMQCTL" not in os.environ:
        pytest.skip("RABBITMQCTL must be the command that controls the server of TEST_BROKER_URL")
    command = shlex.split(os.environ["RABBITMQCTL"])

    def run(*arguments: str, fails: bool = False) -> bool:
        ran = subprocess.run([*command, "--quiet", *arguments], timeout=TIMEOUT)
        assert fails or ran.returncode == 0
        return ran.returncode == 0

    return run


@pytest.fixture
def load(tmp_path: Path, record_property: Record) -> Iterator[Load]:
    with service_under_load(tmp_path, record_property) as load:
        yield load


def test_nothing_is_lost_when_rabbitmq_is_restarted(
    load: Load, control: Callable[..., bool]
) -> None:
    with load.worker():
        for _ in range(2):
            load.goes_on()
            control("stop_app")
            control("start_app")
        load.survives()


def test_nothing_is_lost_when_rabbitmq_is_killed(load: Load, control: Callable[..., bool]) -> None:
    """Whoever watches the server has to start it again, as systemd does."""
    with load.worker():
        for _ in range(2):
            load.goes_on()
            control("eval", END_AT_ONCE, fails=True)
            wait_until(lambda: control("await_startup", fails=True), "RabbitMQ to be started again")
        load.survives()


def test_nothing_is_lost_when_the_memory_of_rabbitmq_is_full(
    load: Load, control: Callable[..., bool]
) -> None:
    with load.worker():
        control("set_vm_memory_high_watermark", "absolute", "1MB")
        time.sleep(OUTAGE)
        control("set_vm_memory_high_watermark", "0.4")
        load.survives()


def test_nothing_is_lost_when_connections_die_without_a_word(load: Load) -> None:
    with load.worker():
        load.goes_on()
        with load.line.forgetting():
            time.sleep(SILENCE)
        load.survives()
