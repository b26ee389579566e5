"""Nothing that was accepted is lost, whatever is killed or stopped while jobs come and run."""

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from live_service import KEY, TIMEOUT, Live, running, wait_until

from {{ cookiecutter.__package_slug }}.ports import free_port

pytestmark = [pytest.mark.chaos, pytest.mark.live, pytest.mark.timeout(300)]

FAULTS = 3
# Seconds that a job takes, so that a fault meets some that run, and seconds between two of them:
# even one process keeps up.
TAKES, PAUSE = 0.05, 0.06


@dataclass
class Trial:
    """A service, what its callers were told, and what its jobs have done."""

    folder: Path
    stack: ExitStack
    port: str = field(default_factory=lambda: str(free_port()))
    accepted: list[str] = field(default_factory=list)
    refused: int = 0

    def start(self) -> None:
        changed = {"API_PORT": self.port, "TRIAL_SECONDS": str(TAKES)}
        self.live: Live = self.stack.enter_context(running(self.folder, **changed))

    def jobs(self) -> list[sqlite3.Row]:
        """Those that were accepted."""
        return list(self.live.board.jobs(self.accepted[:]).values())

    def done(self) -> int:
        return sum(job["state"] == "SUCCESS" for job in self.jobs())

    def stopped_worker(self) -> int:
        """A process that runs a job, and is stopped so that it still does when it is killed."""
        found: list[int] = []

        def is_stopped() -> bool:
            for pid in self.live.board.running():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                    if pid in self.live.board.running():
                        found.append(pid)
                        return True
                    os.kill(pid, signal.SIGCONT)
            return False

        wait_until(is_stopped, "a job to run")
        return found[0]

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Jobs come one after the other until the end of the block."""
        enough = threading.Event()
        producer = threading.Thread(target=self._produce, args=(enough,))
        producer.start()
        try:
            yield
        finally:
            enough.set()
            producer.join(TIMEOUT)

    def _produce(self, enough: threading.Event) -> None:
        address, headers = f"http://127.0.0.1:{self.port}", {"X-API-Key": KEY}
        with httpx2.Client(base_url=address, headers=headers, trust_env=False) as client:
            while not enough.wait(PAUSE):
                try:
                    answer = client.post("/api/hello/greet", json={"name": "Ada"})
                except httpx2.TransportError:
                    self.refused += 1
                    continue
                if answer.status_code == 202:
                    self.accepted.append(answer.json()["id"])
                else:
                    self.refused += 1

    def wait_for_more(self) -> float:
        """Seconds until some more jobs are done."""
        began, enough = time.monotonic(), self.done() + 20
        wait_until(lambda: self.done() >= enough, "jobs to be done")
        return time.monotonic() - began


def kill_a_worker(trial: Trial) -> None:
    os.kill(trial.stopped_worker(), signal.SIGKILL)


def kill_the_arbiter(trial: Trial) -> None:
    trial.stopped_worker()
    os.kill(trial.live.arbiter(), signal.SIGKILL)
    wait_until(trial.live.has_all_workers, "the workers")


def kill_the_service(trial: Trial) -> None:
    os.kill(trial.live.process.pid, signal.SIGKILL)
    trial.live.process.wait(TIMEOUT)
    trial.start()


def deploy(trial: Trial) -> None:
    assert trial.live.stop() == 0
    trial.start()


@pytest.mark.parametrize("fault", [kill_a_worker, kill_the_arbiter, kill_the_service, deploy])
def test_nothing_is_lost(
    tmp_path: Path,
    fault: Callable[[Trial], None],
    record_property: Callable[[str, object], None],
) -> None:
    recovered = []
    with ExitStack() as stack:
        trial = Trial(tmp_path, stack)
        trial.start()
        with trial.busy():
            for _ in range(FAULTS):
                trial.wait_for_more()
                fault(trial)
                recovered.append(trial.wait_for_more())
        wait_until(lambda: trial.done() == len(trial.accepted), "all jobs")
        again = sum(job["deliveries"] - 1 for job in trial.jobs())

    # A kill that meets no job proves nothing. Workers outlive the service for as long as a job.
    assert again > 0 or fault in (kill_the_service, deploy)
    record_property("accepted", len(trial.accepted))
    record_property("refused", trial.refused)
    record_property("run again", again)
    record_property("recovered in s", round(max(recovered), 1))
