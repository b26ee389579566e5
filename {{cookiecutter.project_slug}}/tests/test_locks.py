"""A lock has one holder at a time, in all processes, and nobody holds it for ever."""

import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from live_service import PROJECT, TIMEOUT, wait_until

from {{ cookiecutter.__package_slug }} import leases
from {{ cookiecutter.__package_slug }}.locks import PREFIX, LockLost, LockTaken, lock

pytestmark = pytest.mark.timeout(240)
# One after the other is inside, and who finds somebody else there fails.
TAKE_TURNS = """
import sys
from pathlib import Path

from {{ cookiecutter.__package_slug }}.locks import lock

inside, count = Path(sys.argv[1], "inside"), Path(sys.argv[1], "count")
print("ready", flush=True)
sys.stdin.readline()
for _ in range(25):
    with lock("turns", patience=60):
        inside.touch(exist_ok=False)
        count.write_text(str(int(count.read_text()) + 1))
        inside.unlink()
"""
HOLD = """
import sys

from {{ cookiecutter.__package_slug }}.locks import lock

with lock("held", lease=5):
    print("ready", flush=True)
    sys.stdin.readline()
"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def name() -> str:
    return uuid4().hex


@pytest.fixture(autouse=True)
def start(shared: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Start:
    """Start another process of the service, and wait until it is ready."""
    for variable, value in shared.items():
        monkeypatch.setenv(variable, value)

    def begin(program: str, *arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        return process

    return begin


def be_away(_: object) -> bool:
    raise leases.AWAY[0]("away", {}, Exception())


def test_nobody_else_has_it_until_the_block_ends(name: str) -> None:
    with lock(name), pytest.raises(LockTaken, match=name), lock(name):
        pass
    with lock(name) as held:
        held.check()


def test_a_block_that_fails_gives_it_back(name: str) -> None:
    with pytest.raises(ZeroDivisionError), lock(name):
        raise ZeroDivisionError

    with lock(name):
        pass


def test_who_has_patience_gets_it_next(name: str) -> None:
    with ExitStack() as first:
        first.enter_context(lock(name))
        giving_back = threading.Timer(0.05, first.close)
        giving_back.start()
        with lock(name, patience=TIMEOUT):
            giving_back.join()


def test_what_is_over_goes_to_the_next_who_asks_and_stays_theirs(name: str) -> None:
    first, second = (leases.Lease(name, seconds) for seconds in (0.05, 60))
    assert first.take()
    wait_until(second.take, "the first lease to end")

    assert not first.renew()
    first.end()
    assert not leases.Lease(name, 60).take()
    second.end()


def test_the_block_learns_that_somebody_else_took_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases.Lease, "renew", lambda _: False)

    with lock(name, lease=0.3) as held:
        wait_until(lambda: held._is_lost, "the lock to be lost")
        with pytest.raises(LockLost, match=name):
            held.check()


def test_the_block_learns_that_it_could_not_be_renewed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases.Lease, "renew", be_away)

    with lock(name, lease=0.3) as held:
        wait_until(lambda: held.is_lost, "the lease to end")


def test_a_block_that_is_done_does_not_fail_because_its_lock_cannot_be_given_back(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lock(name, lease=0.3):
        monkeypatch.setattr(leases.Lease, "end", be_away)
    with lock(name, lease=0.3, patience=TIMEOUT):
        monkeypatch.undo()


@pytest.mark.live
def test_a_block_may_take_longer_than_the_lease(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    renew, renewed = leases.Lease.renew, threading.Semaphore(0)

    def count(lease: leases.Lease) -> bool:
        renewed.release()
        return renew(lease)

    monkeypatch.setattr(leases.Lease, "renew", count)
    with lock(name, lease=5) as held:
        for _ in range(4):
            assert renewed.acquire(timeout=TIMEOUT), "nobody renews it"
        assert not held.is_lost
        assert not leases.Lease(PREFIX + name, 1).take()


@pytest.mark.live
def test_two_processes_are_never_inside_at_once(start: Start, tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    processes = [start(TAKE_TURNS, str(tmp_path)) for _ in range(2)]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()

    assert [process.wait(TIMEOUT) for process in processes] == [0, 0]
    assert (tmp_path / "count").read_text() == "50"


@pytest.mark.live
def test_a_holder_that_is_killed_has_it_until_its_lease_ends(start: Start) -> None:
    with start(HOLD) as holder:
        holder.kill()
    with pytest.raises(LockTaken), lock("held"):
        pass
    with lock("held", patience=TIMEOUT / 2):
        pass
