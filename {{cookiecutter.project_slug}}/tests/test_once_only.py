"""A task that is declared once-only does its work once, whatever is delivered or sent twice."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from queue import Empty
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from kombu.exceptions import OperationalError
from live_service import TIMEOUT, Service, kill, running_service, wait_until

from {{ cookiecutter.__package_slug }} import leases
from {{ cookiecutter.__package_slug }}.once_only import once_only

CHARGE = '''
"""A task that charges for an order, and takes its time before and after."""

import time
from datetime import timedelta
from pathlib import Path

from celery import Task, shared_task

from {{ cookiecutter.__package_slug }}.once_only import once_only


def note(folder, name, order):
    with Path(folder, name).open("a") as lines:
        lines.write(f"{order}\\n")


def wait_for(path):
    while not path.exists():
        time.sleep(0.01)


class Lingering(Task):
    def on_success(self, result, task_id, args, kwargs):
        folder, order = args
        note(folder, "done", order)
        wait_for(Path(folder, "acknowledge"))


@shared_task(name="probe.charge", base=Lingering, time_limit=120)
@once_only(window=timedelta(days=1), key="{order}", lease=3)
def charge(folder, order):
    note(folder, "begun", order)
    wait_for(Path(folder, order))
    note(folder, "charged", order)
    return order
'''
# A worker that is killed is missed soon.
PATIENCE = {"TASK_TIME_LIMIT": "3", "VISIBILITY_TIMEOUT": "6", "TASK_LEASE": "3"}
DAY = timedelta(days=1)
QUEUE = "once-only"
Declare = Callable[..., Any]


@pytest.fixture
def sender() -> Iterator[Celery]:
    """Another application, so that its tasks are not taken for the service's."""
    app = Celery("once-only", broker="memory://", set_as_current=False)
    app.conf.task_default_queue = QUEUE
    yield app
    app.close()


@pytest.fixture
def declare(sender: Celery, shared: dict[str, str]) -> Declare:
    """Make a function a task with a name that no other test has."""

    def make(function: Callable[..., Any], **options: Any) -> Any:
        guarded = once_only(**{"window": DAY, **options})(function)
        return sender.task(name=f"once.{uuid4().hex}", max_retries=3)(guarded)

    return make


@pytest.fixture
def runs() -> list[str]:
    return []


@pytest.fixture
def count(declare: Declare, runs: list[str]) -> Any:
    """A task whose runs with one id are the same."""

    def run() -> int:
        runs.append("run")
        return len(runs)

    return declare(run)


@pytest.fixture
def bill(declare: Declare, runs: list[str]) -> Any:
    """A task that must not run twice for one order."""

    def send(order: str, *, note: str = "") -> str:
        runs.append(order)
        return f"bill {len(runs)}"

    return declare(send, key="{order}")


def be_away(*_: object) -> None:
    raise leases.AWAY[0]("away", {}, Exception())


def again(sender: Celery) -> Any:
    """The message of a task that was put off."""
    with sender.connection_for_read() as connection, connection.SimpleQueue(QUEUE) as waiting:
        message = waiting.get(timeout=TIMEOUT)
        message.ack()
        with pytest.raises(Empty):
            waiting.get(block=False)
        return message


def test_a_message_that_is_delivered_twice_runs_once(count: Any) -> None:
    assert [count.apply(task_id=id).get() for id in ("a", "a", "b")] == [1, 1, 2]


def test_what_is_sent_twice_with_one_key_runs_once(bill: Any, runs: list[str]) -> None:
    results = [
        bill.apply(["A1"]),
        bill.apply(kwargs={"order": "A1", "note": "again"}),
        bill.apply(["A2"]),
    ]

    assert [result.get() for result in results] == ["bill 1", "bill 1", "bill 2"]
    assert runs == ["A1", "A2"]


def test_after_the_window_it_runs_again(declare: Declare, runs: list[str]) -> None:
    def run() -> None:
        runs.append("run")

    task = declare(run, key="nightly", window=timedelta(milliseconds=50))

    wait_until(lambda: task.apply() and len(runs) == 2, "the window to end")


def test_a_copy_that_comes_meanwhile_is_put_off_and_not_counted(
    declare: Declare, sender: Celery
) -> None:
    started, ending = threading.Event(), threading.Event()

    def work(order: str) -> str:
        started.set()
        assert ending.wait(TIMEOUT)
        return "first"

    task = declare(work, key="{order}")
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(task.apply, ["A1"])
        assert started.wait(TIMEOUT)
        second = task.apply(["A1"], task_id="second", retries=2)
        ending.set()

    assert (first.result().state, second.state) == ("SUCCESS", "RETRY")
    message = again(sender)
    assert (message.headers["id"], message.headers["retries"]) == ("second", 2)
    assert message.headers["eta"]
    assert task.apply(*message.payload[:2]).get() == "first"


def test_a_run_that_fails_leaves_the_key_free(declare: Declare) -> None:
    outcomes = iter([ZeroDivisionError(), None])

    def fail_once() -> str:
        if error := next(outcomes):
            raise error
        return "done"

    task = declare(fail_once, key="nightly")

    assert [task.apply().state for _ in range(2)] == ["FAILURE", "SUCCESS"]


@pytest.mark.parametrize("result", [object(), "x" * 20_000], ids=["no JSON", "large"])
def test_a_copy_has_no_result_that_cannot_be_kept(
    declare: Declare, runs: list[str], result: object
) -> None:
    def run() -> object:
        runs.append("run")
        return result

    task = declare(run, key="nightly")

    assert [task.apply().get() for _ in range(2)] == [result, None]
    assert runs == ["run"]


def test_a_key_of_an_argument_that_is_none_is_refused_at_once() -> None:
    def send(order: str) -> None:
        """Never called."""

    with pytest.raises(ValueError, match="send has no argument ordre"):
        once_only(window=DAY, key="{ordre.id}")(send)


def test_wrong_arguments_are_refused_where_it_is_sent(bill: Any) -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        bill.delay(note="to whom?")


def test_called_as_a_function_it_is_one(bill: Any, runs: list[str]) -> None:
    assert [bill("A1"), bill("A1")] == ["bill 1", "bill 2"]


def test_while_nobody_can_say_whether_it_ran_it_waits(
    bill: Any, runs: list[str], sender: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "kept", be_away)

    assert bill.apply(["A1"], task_id="waits").state == "RETRY"
    assert runs == []
    assert again(sender).headers["id"] == "waits"


def test_a_task_that_cannot_be_put_off_goes_back_to_the_broker(
    bill: Any, runs: list[str], sender: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(leases, "kept", be_away)
    monkeypatch.setattr(sender, "send_task", refuse)

    assert repr(bill.apply(["A1"]).result).startswith("reject requeue=True")
    assert runs == []


def test_what_ran_is_no_failure_when_that_cannot_be_kept(
    bill: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "keep", be_away)

    assert bill.apply(["A1"]).get() == "bill 1"


@pytest.mark.live
@pytest.mark.timeout(240)
def test_whenever_its_worker_is_killed_an_order_is_charged_once(
    shared: dict[str, str], tmp_path: Path
) -> None:
    def noted(name: str) -> list[str]:
        file = tmp_path / name
        return sorted(file.read_text().split()) if file.exists() else []

    def charge(service: Service) -> None:
        for order in ("killed-after", "killed-within"):
            service.send("probe.charge", str(tmp_path), order)

    (tmp_path / "charge.py").write_text(CHARGE)
    with running_service(tmp_path, WORKER_CONCURRENCY="2", **PATIENCE, **shared) as service:
        (tmp_path / "killed-after").touch()
        with service.worker("-I", "charge") as worker:
            charge(service)
            wait_until(lambda: noted("begun")[1:] and noted("done"), "one run to end")
            kill(worker)
        for name in ("killed-within", "acknowledge"):
            (tmp_path / name).touch()
        with service.worker("-I", "charge"):
            charge(service)
            wait_until(lambda: len(noted("done")) == 5, "all copies to be done")

    assert noted("begun") == ["killed-after", "killed-within", "killed-within"]
    assert noted("charged") == ["killed-after", "killed-within"]
