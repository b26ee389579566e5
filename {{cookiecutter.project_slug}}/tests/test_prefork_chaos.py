"""Processes of the pool die while tasks are sent all the time: none is lost."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos import Load, Record, service_under_load

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]


@pytest.fixture
def load(tmp_path: Path, record_property: Record) -> Iterator[Load]:
    with service_under_load(tmp_path, record_property) as load:
        yield load


def test_nothing_is_lost_when_processes_of_the_pool_are_killed(load: Load, tmp_path: Path) -> None:
    with load.worker():
        for number in range(5):
            hanging = load.service.hang(tmp_path / str(number))
            os.kill(hanging.wait_for_run(), signal.SIGKILL)
            hanging.wait_for_run(2)
            hanging.end()
            load.goes_on()
        load.survives()
