"""The outbox: accepted with the caller's rows, sent until it is done, and its effect once."""

import asyncio
import json
import math
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any
from unittest.mock import Mock

import pytest
from celery import chain
from celery.exceptions import QueueNotFound, Retry
from kombu.exceptions import OperationalError
from live_service import wait_until
from pydantic import ValidationError
from sqlalchemy import delete, func, select, update
from typer.testing import CliRunner

from {{ cookiecutter.__package_slug }} import cli, outbox, outbox_relay, outbox_worker
from {{ cookiecutter.__package_slug }}.celery import app
from {{ cookiecutter.__package_slug }}.database import session
from {{ cookiecutter.__package_slug }}.jobs import hello
from {{ cookiecutter.__package_slug }}.models import Accepted, Order
from {{ cookiecutter.__package_slug }}.outbox_relay import keep_sending, send_due
from {{ cookiecutter.__package_slug }}.run_async import run_async
from {{ cookiecutter.__package_slug }}.settings import Settings, settings
from {{ cookiecutter.__package_slug }}.tasks.hello import greet

pytestmark = pytest.mark.usefixtures("migrated")
AN_HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _nothing_accepted() -> Iterator[None]:
    async def empty() -> None:
        async with session() as unit_of_work:
            await unit_of_work.execute(delete(Accepted))

    yield
    run_async(empty())


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """The headers of the messages that are sent, and no broker gets."""
    headers: list[dict[str, Any]] = []

    def send(producer: object, name: str, message: Any, **options: Any) -> None:
        headers.append(message[0] | (options.get("headers") or {}))

    with monkeypatch.context() as patch:
        patch.setattr(app.amqp, "send_task_message", send)
        yield headers


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """What `greet` calls."""
    job = Mock(return_value="Hello!")
    monkeypatch.setattr(hello, "greet", job)
    return job


def accepted(signature: Any) -> str:
    """The id of a task that is committed alone."""

    async def accept() -> str:
        async with session() as unit_of_work:
            return outbox.accept(unit_of_work, signature)

    return run_async(accept())


def row(task_id: str) -> Accepted | None:
    async def find() -> Accepted | None:
        async with session() as unit_of_work:
            return await unit_of_work.get(Accepted, task_id)

    return run_async(find())


def error(task_id: str) -> str | None:
    entry = row(task_id)
    return entry.error if entry else None


def ended(*arguments: str) -> str:
    """What a command printed that did its work."""
    result = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def make_due() -> None:
    """As if all that are sent had waited for long."""

    async def change() -> None:
        async with session() as unit_of_work:
            past = datetime.now(UTC) - AN_HOUR
            waiting = update(Accepted).where(Accepted.send_at.is_not(None))
            await unit_of_work.execute(waiting.values(send_at=past))

    run_async(change())


async def count(reference: str) -> int:
    async with session() as unit_of_work:
        found = select(func.count()).where(Order.customer == reference)
        return await unit_of_work.scalar(found) or 0


async def order_once(customer: str) -> bool:
    """An effect that would happen twice if nobody took care."""
    async with session() as unit_of_work:
        if not await outbox.take(unit_of_work):
            return False
        unit_of_work.add(Order(reference=uuid.uuid4().hex, customer=customer, cents=1250))
        return True


def test_a_task_is_accepted_with_its_unit_of_work_or_not_at_all(sent: list[Any]) -> None:
    ids = []

    async def fail() -> None:
        async with session() as unit_of_work:
            ids.append(outbox.accept(unit_of_work, greet.s("Ada")))
            raise asyncio.InvalidStateError

    with pytest.raises(asyncio.InvalidStateError):
        run_async(fail())
    ids.append(accepted(greet.s("Grace")))
    send_due()

    assert [headers["id"] for headers in sent] == ids[1:]


def test_what_is_sent_is_what_was_accepted(sent: list[Any]) -> None:
    task_id = accepted(greet.s("Ada").set(queue="io", headers={"tenant": "a"}))
    send_due()

    (headers,) = sent
    assert (headers["id"], headers["task"], headers["argsrepr"]) == (
        task_id,
        "hello.greet",
        "('Ada',)",
    )
    assert headers["timelimit"] == [greet.time_limit, greet.soft_time_limit]
    assert (headers["tenant"], headers[outbox.HEADER]) == ("a", True)


@pytest.mark.usefixtures("worker")
def test_a_task_that_is_done_leaves_the_outbox() -> None:
    task_id = accepted(greet.s("Ada"))
    send_due()

    assert app.AsyncResult(task_id).get(timeout=10, interval=0.01) == "Hello, Ada!"
    wait_until(lambda: row(task_id) is None, "the row to go")


def test_a_task_that_is_not_done_is_sent_again_later_and_later(sent: list[Any]) -> None:
    task_id = accepted(greet.s("Ada"))
    waits = []
    for _ in range(3):
        make_due()
        send_due()
        assert send_due() == 0
        entry = row(task_id)
        assert entry
        assert entry.send_at
        waits.append((entry.send_at.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds())

    assert [headers["id"] for headers in sent] == [task_id] * 3
    first = settings.outbox_resend_after
    assert waits == pytest.approx([first, 2 * first, 4 * first], abs=60)


def test_relays_do_not_send_the_same(sent: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_relay, "BATCH", 2)
    ids = {accepted(greet.s("Ada")) for _ in range(3)}
    until = datetime.now(UTC) + AN_HOUR
    claims = [[entry.id for entry in run_async(outbox_relay._claim(until))] for _ in range(3)]

    assert [len(claim) for claim in claims] == [2, 1, 0]
    assert {task_id for claim in claims for task_id in claim} == ids


def test_what_the_broker_does_not_take_is_sent_when_it_is_back(
    sent: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [accepted(greet.s("Ada")) for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(app, "send_task", Mock(side_effect=OperationalError("away")))
        patch.setattr(greet, "apply_async", app.send_task)
        with pytest.raises(OperationalError):
            send_due()
    assert send_due() == 2

    assert [headers["id"] for headers in sent] == ids


def test_a_task_that_cannot_be_sent_does_not_hold_up_the_others(
    sent: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted(app.signature("probe.unknown", queue="io"))
    task_id = accepted(greet.s("Ada"))
    monkeypatch.delitem(app.amqp.queues, "io")
    send_due()

    assert [headers["id"] for headers in sent] == [task_id]


def test_the_relay_goes_on_after_an_error_until_it_is_told_to_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stopping, signs = Event(), Mock(ALIVE="alive", READY="ready")
    monkeypatch.setattr(outbox_relay, "health", signs)
    monkeypatch.setattr(outbox_relay, "SHORTEST_PAUSE", 0.01)
    outcomes: list[Exception | int] = [OperationalError("away"), TimeoutError(), 0]

    def look() -> int:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        stopping.set()
        return outcome

    monkeypatch.setattr(outbox_relay, "send_due", look)
    keep_sending(stopping)

    assert outcomes == []
    assert [sign.args[0] for sign in signs.sign.mock_calls] == ["alive", "alive", "alive", "ready"]


@pytest.mark.parametrize(
    ("signature", "error"),
    [
        (greet.s({"Ada"}), "as this is no JSON: Object of type set"),
        (greet.s(math.nan), "this is no JSON"),
        (greet.s(), "missing 1 required positional argument: 'name'"),
        (greet.s("Ada").set(queue="emails"), "Queue 'emails' missing"),
        (chain(greet.s("Ada"), greet.si("Grace")), "is no single task"),
    ],
    ids=["set", "nan", "argument", "queue", "chain"],
)
def test_what_could_not_be_sent_is_not_accepted(signature: Any, error: str) -> None:
    with pytest.raises((TypeError, ValueError, QueueNotFound), match=error):
        accepted(signature)


@pytest.mark.parametrize(
    "later", [{"countdown": 3600}, {"eta": datetime.now(UTC) + AN_HOUR}], ids=["countdown", "eta"]
)
def test_a_task_with_a_countdown_waits_in_the_outbox(
    sent: list[Any], later: dict[str, Any]
) -> None:
    accepted(greet.s("Ada").set(**later))
    assert send_due() == 0
    make_due()
    send_due()

    assert [headers["eta"] for headers in sent] == [None]


@pytest.mark.usefixtures("worker")
def test_a_task_that_is_delivered_twice_has_its_effect_once(job: Mock) -> None:
    customer = uuid.uuid4().hex
    job.side_effect = lambda name: run_async(order_once(name))
    task_id = accepted(greet.s(customer))
    for _ in range(2):
        app.send_task("hello.greet", [customer], task_id=task_id, headers={outbox.HEADER: True})
    wait_until(lambda: job.call_count == 2, "both deliveries")
    wait_until(lambda: row(task_id) is None, "the row to go")

    assert run_async(count(customer)) == 1


def test_an_effect_that_is_rolled_back_is_still_to_be_made() -> None:
    task_id = accepted(greet.s("Ada"))

    async def fail() -> None:
        async with session() as unit_of_work:
            assert await outbox.take(unit_of_work)
            raise asyncio.InvalidStateError

    token = outbox.running.set(task_id)
    with pytest.raises(asyncio.InvalidStateError):
        run_async(fail())
    assert run_async(order_once("ada@example.com"))
    assert not run_async(order_once("ada@example.com"))
    outbox.running.reset(token)


@pytest.mark.usefixtures("worker")
def test_other_tasks_have_their_effect_and_cost_no_query(
    job: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Mock()
    monkeypatch.setattr(outbox_worker, "_write", write)
    job.side_effect = lambda name: run_async(order_once(name))

    assert app.send_task("hello.greet", ["Ada"]).get(timeout=10, interval=0.01) is True
    write.assert_not_called()


@pytest.mark.usefixtures("worker")
def test_a_task_that_has_expired_leaves_the_outbox(job: Mock) -> None:
    task_id = accepted(greet.s("Ada").set(expires=0.001))
    send_due()
    wait_until(lambda: row(task_id) is None, "the row to go")

    job.assert_not_called()


@pytest.mark.usefixtures("worker")
def test_a_dead_letter_is_kept_but_not_sent_until_it_is_put_back(job: Mock) -> None:
    job.side_effect = ValueError("nobody is there")
    task_id = accepted(greet.s("Ada"))
    send_due()
    wait_until(lambda: error(task_id) == "ValueError('nobody is there')", "the row to say so")
    make_due()
    assert send_due() == 0

    job.side_effect = None
    assert ended("dead-letters", "requeue", task_id) == f"requeued {task_id}\n"
    wait_until(lambda: row(task_id) is None, "the row to go")
    assert job.call_count == 2


@pytest.mark.usefixtures("worker")
def test_a_dead_letter_that_is_put_back_is_watched_again(job: Mock) -> None:
    job.side_effect = [ValueError("nobody is there"), Retry()]
    task_id = accepted(greet.s("Ada"))
    send_due()
    wait_until(lambda: error(task_id), "the row to say so")
    ended("dead-letters", "requeue", task_id)

    wait_until(lambda: job.call_count == 2, "the task to run again")
    entry = row(task_id)
    assert entry
    assert (entry.error, entry.send_at is None) == (None, False)


@pytest.mark.usefixtures("worker")
def test_a_dead_letter_that_is_forgotten_leaves_the_outbox(job: Mock) -> None:
    job.side_effect = ValueError("nobody is there")
    task_id = accepted(greet.s("Ada"))
    send_due()
    wait_until(lambda: error(task_id), "the row to say so")
    ended("dead-letters", "purge", "--task", "hello.greet", "--yes")

    assert row(task_id) is None


def test_the_list_shows_what_is_not_done(sent: list[Any]) -> None:
    assert ended("outbox", "list") == "Everything is done.\n"
    task_id = accepted(greet.s("Ada"))
    send_due()
    told = ended("outbox", "list")
    (entry,) = json.loads(ended("outbox", "list", "--json"))

    assert f"{task_id}  hello.greet\n    sent 1 times" in told
    assert (entry["id"], entry["task"], entry["sent"], entry["error"]) == (
        task_id,
        "hello.greet",
        1,
        None,
    )


def test_who_knows_that_the_broker_lost_its_data_need_not_wait(sent: list[Any]) -> None:
    ids = [accepted(greet.s("Ada")) for _ in range(2)]
    send_due()
    for chosen in ([ids[1]], ["--all"]):
        ended("outbox", "resend", *chosen)
        send_due()

    assert [headers["id"] for headers in sent] == [*ids, ids[1], *ids]
    assert CliRunner().invoke(cli.app, ["outbox", "resend"]).exit_code == 1


def test_a_task_is_not_sent_again_while_it_may_still_run() -> None:
    with pytest.raises(ValidationError, match=r"OUTBOX_RESEND_AFTER \(600 s\) must be longer"):
        Settings(_env_file=None, outbox_resend_after=600, task_time_limit=600)

    app.loader.import_default_modules()
    limits = [task.time_limit or 0 for task in app.tasks.values()]
    assert max(limits) < settings.outbox_resend_after
