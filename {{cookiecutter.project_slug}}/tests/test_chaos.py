"""Whatever breaks while tasks are sent all the time: none is lost, and soon all is well again."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from chaos import Load, Record, service_under_load
from live_service import SHORTEST_STOP, kill

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]
# Seconds that the broker is away: in silence, so long that who waits for a message gives up, too.
OUTAGE = 30
SILENCE = 16


@pytest.fixture
def load(tmp_path: Path, record_property: Record) -> Iterator[Load]:
    with service_under_load(tmp_path, record_property) as load:
        yield load


@pytest.mark.live
def test_nothing_is_lost_when_worker_after_worker_is_killed(load: Load) -> None:
    for _ in range(4):
        with load.service.worker() as worker:
            load.goes_on()
            kill(worker)
    with load.worker():
        load.survives()


def test_nothing_is_lost_when_workers_are_stopped_amid_long_tasks(load: Load) -> None:
    load.long = float(SHORTEST_STOP) + 2
    for _ in range(2):
        with load.worker() as worker:
            pass
        assert worker.returncode == 0
    with load.worker():
        load.survives()


def test_nothing_is_lost_when_two_workers_are_replaced_in_turn(load: Load) -> None:
    with ExitStack() as all_of_them:
        workers: deque[ExitStack] = deque()
        for number in range(4):
            workers.append(all_of_them.enter_context(ExitStack()))
            workers[-1].enter_context(load.worker(f"number{number}@localhost"))
            if len(workers) > 2:
                workers.popleft().close()
        load.survives()


def test_nothing_is_lost_when_connections_are_cut_again_and_again(load: Load) -> None:
    with load.worker():
        for _ in range(5):
            load.goes_on()
            load.line.reset()
        load.survives()


def test_nothing_is_lost_when_the_broker_refuses_connections(load: Load) -> None:
    with load.worker():
        with load.line.refusing():
            time.sleep(OUTAGE)
        load.survives()


def test_nothing_is_lost_when_the_network_is_silent(load: Load) -> None:
    with load.worker():
        with load.line.stalled():
            time.sleep(SILENCE)
        load.survives()
