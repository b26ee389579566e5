"""A worker with all its children: what it has done, and what that took."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .servers import Redis
from .subjects.workload import MARK

# Seconds that no start and no job takes.
TIMEOUT = 120
# Seconds between two looks. To be told of each job would take the processor away from the workers.
LOOK_EVERY = 0.002
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Look:
    """At one moment, since the worker's start."""

    at: float
    jobs: int
    cpu: float
    commands: int
    requests: int
    redis_cpu: float


def between(before: Look, after: Look) -> dict[str, float]:
    """For each job: microseconds, and what Redis was asked. And how many jobs a second."""
    jobs = after.jobs - before.jobs
    return {
        "rate": jobs / (after.at - before.at),
        "cpu": (after.cpu - before.cpu) / jobs * 1e6,
        "redis_cpu": (after.redis_cpu - before.redis_cpu) / jobs * 1e6,
        "commands": (after.commands - before.commands) / jobs,
        "requests": (after.requests - before.requests) / jobs,
    }


class Worker:
    def __init__(
        self, processes: "Sequence[subprocess.Popen[bytes]]", marks: Path, log: Path, redis: Redis
    ) -> None:
        self._processes, self._marks, self._log, self._redis = processes, marks, log, redis
        self._sessions = {process.pid for process in processes}

    def jobs(self) -> int:
        """How many have run."""
        return self._marks.stat().st_size // MARK.size

    def marks(self) -> dict[int, float]:
        """When each job ran."""
        return dict(MARK.iter_unpack(self._marks.read_bytes()))

    def wait_for(self, jobs: int, timeout: float = TIMEOUT) -> Look:
        deadline = time.monotonic() + timeout
        while self.jobs() < jobs:
            if any(process.poll() is not None for process in self._processes):
                raise RuntimeError(f"The worker has ended:\n{self.output()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.jobs()} jobs ran, not {jobs}:\n{self.output()}")
            time.sleep(LOOK_EVERY)
        return self.look()

    def look(self) -> Look:
        jobs, now = self.jobs(), time.monotonic()
        asked = self._redis.commands(), self._redis.requests()
        return Look(now, jobs, self.cpu(), *asked, cpu_of(self._redis.pid))

    def output(self) -> str:
        return self._log.read_text(errors="replace")[-3000:]

    def cpu(self) -> float:
        """Seconds."""
        found = 0.0
        for pid, values in self._members():
            with suppress(OSError):
                # Those of children that have ended are only known to their parent.
                found += cpu_of(pid) + sum(map(int, values[13:15])) / TICKS
        return found

    def memory(self) -> float:
        """Megabytes; what processes share is counted once."""
        kilobytes = 0
        for pid, _ in self._members():
            with suppress(OSError):
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
                kilobytes += int(text.partition("\nPss:")[2].split()[0])
        return kilobytes * 1024 / 1e6

    def _members(self) -> Iterator[tuple[int, list[str]]]:
        for path in Path("/proc").glob("[0-9]*/stat"):
            # One that ends meanwhile counts with its parent.
            with suppress(OSError):
                values = path.read_text().rpartition(")")[2].split()
                if int(values[3]) in self._sessions and values[0] != "Z":
                    yield int(path.parent.name), values

    def kill(self) -> None:
        """Nothing that it leaves behind matters: the next one finds an empty Redis."""
        for process in self._processes:
            process.kill()
            process.wait(TIMEOUT)
        deadline = time.monotonic() + TIMEOUT
        while members := list(self._members()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"These do not end: {members}")
            for pid, _ in members:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(LOOK_EVERY)


def cpu_of(pid: int) -> float:
    """Seconds that a process has computed, to the nanosecond; /proc knows hundredths."""
    # Linux' number of the clock of another process.
    return time.clock_gettime(~pid << 3 | 2)


@contextmanager
def running_worker(
    command: Sequence[str],
    copies: int,
    folder: Path,
    redis: Redis,
    cwd: Path,
    environment: Mapping[str, str],
) -> Iterator[Worker]:
    """Until the end of the block."""
    marks, log = folder / "marks", folder / "worker.log"
    marks.write_bytes(b"")
    with log.open("wb") as output:
        processes = [
            subprocess.Popen(
                command,
                cwd=cwd,
                env={**environment, "BENCHMARK_MARKS": str(marks)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            for _ in range(copies)
        ]
    worker = Worker(processes, marks, log, redis)
    try:
        yield worker
    finally:
        worker.kill()
