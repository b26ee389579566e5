"""The service as processes of its own, for the tests that are marked `live`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from {{ cookiecutter.__package_slug }}.dirty.bell import listening
from {{ cookiecutter.__package_slug }}.dirty.board import Board, is_final
from {{ cookiecutter.__package_slug }}.ports import free_port
from {{ cookiecutter.__package_slug }}.queues import PROCESSES, Queue

KEY = "sixteen-characters"
# Seconds for what takes a few.
TIMEOUT = 60


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {TIMEOUT} s for {what}")
        time.sleep(0.01)


#{% if cookiecutter.include_sqlalchemy %}
def server_for_tests(variable: str, example: str) -> str:
    """The address in this variable; who has no such server skips the test, but CI must not."""
    if variable not in os.environ:
        reason = f"{variable} must name a server that tests may empty, for example {example}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    return os.environ[variable]


#{% endif %}
@dataclass(frozen=True)
class Live:
    """A service that runs."""

    process: "subprocess.Popen[bytes]"
    client: httpx2.Client
    board: Board
    folder: Path

    @property
    def log(self) -> Path:
        """What it has written to standard error."""
        return self.folder / "log"

    def submit(self, task: str, queue: Queue = Queue.DEFAULT, **arguments: Any) -> str:
        return self.board.submit(task, arguments, queue, 10_000)

    def job(self, job_id: str) -> Mapping[str, Any]:
        row = self.board.jobs([job_id])[job_id]
        return dict(row)

    def ended(self, job_id: str) -> Mapping[str, Any]:
        wait_until(lambda: is_final(self.board.jobs([job_id])[job_id]), "the job to end")
        return self.job(job_id)

    def workers(self) -> list[str]:
        """The names of the processes that run jobs, at this moment: by their queue and id."""
        return [f"{queue}-{pid}" for queue in Queue for pid in listening(self.board.bells, queue)]

    def answers(self) -> bool:
        with suppress(httpx2.TransportError):
            return self.client.get("/healthz").status_code == 200
        return False

    def has_all_workers(self) -> bool:
        queues = [name.rpartition("-")[0] for name in self.workers()]
        return sorted(queues) == sorted(queue for queue, n in PROCESSES.items() for _ in range(n))

    def arbiter(self) -> int:
        """The process whose children run the jobs."""
        return _parent(int(self.workers()[0].rpartition("-")[2]))

    def processes(self) -> list[int]:
        """All of them."""
        group = self.process.pid
        found = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
        return [pid for pid in found if _group(pid) == group]

    def open_files(self) -> int:
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in self.processes())

    def memory(self) -> int:
        """Bytes that its processes do not share."""
        kilobytes = [
            int(line.split()[1])
            for pid in self.processes()
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            if line.startswith("Private_")
        ]
        return 1024 * sum(kilobytes)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(TIMEOUT)


@contextmanager
def running(folder: Path, **changed: str) -> Iterator[Live]:
    """The service until the end of the block, with its jobs in this folder."""
    port = changed.get("API_PORT") or str(free_port())
    tests = Path(__file__).parent
    environment = os.environ | {
        "API_KEY": KEY,
        "API_PORT": port,
        "API_RATE_LIMIT": "100000/second",
        "JOBS_DIR": str(folder / "jobs"),
        "PYTHONPATH": os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")]),
        **changed,
    }
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", str(tests / "trial_gunicorn.py")],
            cwd=tests.parent,
            env=environment,
            stderr=log,
            start_new_session=True,
        )
    url, headers = f"http://127.0.0.1:{port}", {"X-API-Key": KEY}
    try:
        with httpx2.Client(
            base_url=url, headers=headers, timeout=TIMEOUT, trust_env=False
        ) as client:
            live = Live(process, client, Board(folder / "jobs"), folder)
            wait_until(live.has_all_workers, "the workers")
            wait_until(live.answers, "the API")
            yield live
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(TIMEOUT)
        # Where pytest shows it when a test fails.
        sys.stderr.write((folder / "log").read_text())


def _parent(pid: int) -> int:
    return int(_status(pid)[1])


def _group(pid: int) -> int:
    with suppress(OSError):
        return int(_status(pid)[2])
    return 0


def _status(pid: int) -> list[str]:
    # State, parent, process group, and more; a name may hold anything before that.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
