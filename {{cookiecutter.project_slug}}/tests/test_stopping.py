"""A worker that is told to stop ends by itself, and what it has not done is done by another."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_service import SHORTEST_STOP, TIMEOUT, Service, running_service, wait_until

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Whose workers give running tasks a moment. Its broker would miss a lost one for an hour."""
    patience = {"SHUTDOWN_TIMEOUT": SHORTEST_STOP}
    with running_service(tmp_path_factory.mktemp("hasty"), **patience) as service:
        yield service


def test_what_takes_too_long_goes_back_to_the_broker(hasty: Service, tmp_path: Path) -> None:
    hanging = hasty.hang(tmp_path / "hanging")
    with hasty.worker() as leaving:
        hanging.wait_for_run()
        leaving.terminate()
        assert leaving.wait(TIMEOUT) == 0

    with hasty.worker():
        hanging.wait_for_run(2)
        hanging.end()
        assert hasty.value(hanging.result) is None


def test_what_is_not_due_yet_goes_back_to_the_broker(hasty: Service) -> None:
    with hasty.worker() as leaving:
        # It serves the queue, so it takes the next one, too.
        hasty.value(hasty.send("hello.greet", "Grace"))
        later = hasty.send("hello.greet", "Ada", countdown=5)
        wait_until(lambda: not hasty.waiting("default"), "the worker to take the task")
        leaving.terminate()
        assert leaving.wait(TIMEOUT) == 0

    with hasty.worker():
        assert hasty.value(later) == "Hello, Ada!"
