"""Tasks that are sent all the time while a test breaks something, and what becomes of them."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from subprocess import Popen
from urllib.parse import urlsplit

from kombu.exceptions import OperationalError
from live_service import (
    SHORTEST_STOP,
    SOON,
    TIMEOUT,
    WORKER,
    Service,
    running_service,
    sending_to,
    wait_until,
)
from unreliable_network import Line

from {{ cookiecutter.__package_slug }}.dead_letters import opened
from {{ cookiecutter.__package_slug }}.queues import DEAD_LETTERS
from {{ cookiecutter.__package_slug }}.settings import settings

# A worker that is killed is missed soon, and one that is stopped gives back long tasks soon.
PATIENCE = {
    "TASK_LEASE": "2",
    "TASK_TIME_LIMIT": "15",
    "VISIBILITY_TIMEOUT": "20",
    "SHUTDOWN_TIMEOUT": SHORTEST_STOP,
    "WORKER_CONCURRENCY": "4",
}
# Twice PUBLISH_TIMEOUT is promised; the rest is for a machine that is busy.
LONGEST_SEND = 4 * settings.publish_timeout
# Seconds that a task takes, and between two of them.
SHORT = 0.01
PACE = 0.005
# Of so many tasks one may take longer.
FEW = 50
# Tasks that wait in the broker at most.
MOST_WAITING = 100
# Digits of a task's number, so that the size of a file tells how many it holds.
DIGITS = 6

Record = Callable[[str, object], None]


class Load:
    """Numbered tasks, each of which writes its number into a file at its end."""

    def __init__(self, service: Service, line: Line, record: Record) -> None:
        self.service = service
        self.line = line
        # Seconds that few of the tasks take.
        self.long = SHORT
        self._record = record
        self._file = service.folder / "runs"
        self._file.touch()
        self._number = 0
        # By number, the id of each task of which the sender was told that the broker has it.
        self._accepted: dict[int, str] = {}
        self._refused = 0
        self._longest_send = 0.0
        self._stopped = threading.Event()
        self._sending: Future[None] = Future()

    @contextmanager
    def running(self) -> Iterator["Load"]:
        with ThreadPoolExecutor(1) as thread:
            self._sending = thread.submit(self._send_all_the_time)
            try:
                yield self
            finally:
                self._stopped.set()

    @contextmanager
    def worker(self, name: str = WORKER) -> Iterator["Popen[bytes]"]:
        """One that has begun to work, and must live until the end of the block."""
        with self.service.worker(name=name) as worker:
            self.goes_on()
            yield worker
            assert worker.poll() is None, "the worker has ended by itself"

    def goes_on(self, tasks: int = 50) -> None:
        """Wait until some more tasks have run."""
        enough = self._runs_so_far() + tasks
        self._wait_until(lambda: self._runs_so_far() >= enough, f"{tasks} more tasks to run")

    def survives(self) -> None:
        """Nothing is broken any more: tasks must soon run as before, and none may be missing."""
        mended = time.monotonic()
        # The one after that which may be on its way now.
        first = self._number + 1
        self._wait_until(lambda: max(self._runs(), default=0) >= first, "a new task to run")
        recovered_in = time.monotonic() - mended
        self._stopped.set()
        self._sending.result(TIMEOUT)
        try:
            self._wait_until(self._is_settled, "the last tasks to run")
        finally:
            missing = self._missing()
            lost = missing - self._dead()
            self._record("accepted", len(self._accepted))
            self._record("refused", self._refused)
            self._record("lost", len(lost))
            self._record("dead letters", len(missing - lost))
            self._record("run twice", self.run_twice())
            self._record("longest send", f"{self._longest_send:.1f} s")
            self._record("recovered in", f"{recovered_in:.1f} s")
        assert not lost
        assert recovered_in < SOON
        assert self._longest_send < LONGEST_SEND

    def run_twice(self) -> int:
        return sum(self._runs().values()) - len(self._runs())

    def send(
        self, number: int = 0, seconds: float = SHORT, ballast: str = "", **options: object
    ) -> None:
        """One task. The others, which are sent all the time, begin with the number 1."""
        arguments = str(self._file), f"{number:0{DIGITS}}", str(seconds), ballast
        try:
            sent = self.service.send("probe.write", *arguments, **options)
        except OperationalError:
            self._refused += 1
        else:
            self._accepted[number] = sent.id

    def _send_all_the_time(self) -> None:
        for self._number in itertools.count(1):
            # Not as fast as possible: what runs it has other things to do.
            if self._stopped.wait(PACE):
                return
            while len(self._accepted) - self._runs_so_far() > MOST_WAITING:
                if self._stopped.wait(PACE):
                    return
            started = time.monotonic()
            self.send(self._number, self.long if self._number % FEW == 0 else SHORT)
            self._longest_send = max(self._longest_send, time.monotonic() - started)

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        def is_so() -> bool:
            if self._sending.done():
                # Anything but the one error that was promised.
                self._sending.result()
            return condition()

        wait_until(is_so, what)

    def _runs_so_far(self) -> int:
        return self._file.stat().st_size // (DIGITS + 1)

    def _runs(self) -> Counter[int]:
        return Counter(map(int, self._file.read_text().split()))

    def _missing(self) -> set[int]:
        return self._accepted.keys() - self._runs().keys()

    def _is_settled(self) -> bool:
        missing = self._missing()
        # To look into the dead letters takes them from the broker for a moment.
        return not missing or (
            len(missing) <= self.service.waiting(DEAD_LETTERS) and missing <= self._dead()
        )

    def _dead(self) -> set[int]:
        with opened(self.service.sender) as letters:
            ids = {letter.about["id"] for letter in letters}
        return {number for number, id in self._accepted.items() if id in ids}


@contextmanager
def service_under_load(
    folder: Path, record: Record, *variables: str, **changed: str
) -> Iterator[Load]:
    """Without a worker, which the test starts.

    The way to the server of the first variable can be broken for all of them. Unless they are
    given, it is the broker's, and what else is on the same server.
    """
    with running_service(folder, **PATIENCE | changed) as service:
        variables = variables or ("CELERY_BROKER_URL", *service.environment)
        server = urlsplit(service.environment[variables[0]])
        assert server.hostname
        assert server.port
        address = f"{server.hostname}:{server.port}"
        with Line(server.hostname, server.port).running() as line:
            environment = service.environment | {
                name: service.environment[name].replace(address, line.address) for name in variables
            }
            with sending_to(environment) as sender:
                reached = replace(service, environment=environment, sender=sender)
                with Load(reached, line, record).running() as load:
                    yield load
