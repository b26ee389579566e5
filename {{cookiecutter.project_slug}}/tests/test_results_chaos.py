"""The results cannot be stored while tasks are sent all the time: none is lost."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos import Load, Record, service_under_load

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]
# Seconds that the results are away.
OUTAGE = 10


@pytest.fixture
def load(tmp_path: Path, record_property: Record) -> Iterator[Load]:
    """Whose line leads to the results only."""
    with service_under_load(tmp_path, record_property, "CELERY_RESULT_BACKEND") as load:
        yield load


def test_nothing_is_lost_when_the_results_are_refused(load: Load) -> None:
    with load.worker():
        with load.line.refusing():
            time.sleep(OUTAGE)
        load.survives()


def test_nothing_is_lost_when_the_results_are_silent(load: Load) -> None:
    with load.worker():
        with load.line.stalled():
            time.sleep(OUTAGE)
        load.survives()
