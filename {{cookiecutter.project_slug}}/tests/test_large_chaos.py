"""A task is far too large while others are sent all the time: none is lost for it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos import Load, Record, service_under_load

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]


@pytest.fixture
def load(tmp_path: Path, record_property: Record) -> Iterator[Load]:
    with service_under_load(tmp_path, record_property) as load:
        yield load


def test_nothing_is_lost_when_a_task_carries_50_megabytes(load: Load) -> None:
    with load.worker():
        load.send(ballast="x" * 50_000_000)
        load.survives()
