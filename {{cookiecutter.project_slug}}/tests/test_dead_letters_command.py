"""`dead-letters`: what failed for good is listed, shown, put back and forgotten as one says."""

import json
from typing import Any
from unittest.mock import Mock

import pytest
from kombu import Message
from live_service import wait_until
from typer.testing import CliRunner

from {{ cookiecutter.__package_slug }} import cli, dead_letters
from {{ cookiecutter.__package_slug }}.celery import app
from {{ cookiecutter.__package_slug }}.jobs import hello
from {{ cookiecutter.__package_slug }}.settings import settings

# Tests before these may still leave dead letters of their own.
pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def greet(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """The job, which fails as long as it has this side effect."""
    job = Mock(side_effect=ValueError("nobody is there"))
    monkeypatch.setattr(hello, "greet", job)
    return job


def command(*arguments: str, answer: str = "") -> tuple[int, str]:
    """Status and output."""
    words = ["dead-letters", *arguments]
    result = CliRunner().invoke(cli.app, words, input=answer, catch_exceptions=False)
    return result.exit_code, result.output


def listed(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(command("list", "--json", *arguments)[1])
    return found


def is_there(task_id: str, *filters: str) -> bool:
    return task_id in [letter["id"] for letter in listed(*filters)]


def failed_greeting() -> str:
    """Its id, once it is a dead letter."""
    task_id: str = app.send_task("hello.greet", ["Ada"]).id
    wait_until(lambda: is_there(task_id), "the dead letter")
    return task_id


def test_an_empty_list_says_so() -> None:
    for action in ("list", "requeue", "purge"):
        assert command(action, "--task", "hello.nobody") == (0, "There are none.\n")


@pytest.mark.usefixtures("greet")
def test_the_list_tells_what_failed_and_why() -> None:
    task_id = failed_greeting()
    status, output = command("list")

    assert status == 0
    assert f"{task_id}  default  hello.greet" in output
    assert "failed: ValueError('nobody is there')" in output


@pytest.mark.usefixtures("greet")
def test_one_is_shown_with_its_arguments_and_headers() -> None:
    task_id = failed_greeting()
    shown = json.loads(command("show", task_id)[1])

    assert shown["content"][0] == ["Ada"]
    assert shown["headers"]["retries"] == 0
    assert "ValueError: nobody is there" in shown["traceback"]


@pytest.mark.usefixtures("greet")
@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (["--task", "hello.greet"], True),
        (["--queue", "default", "--reason", "failed"], True),
        (["--queue", "default", "--reason", "malformed"], False),
        (["--task", "hello"], False),
    ],
)
def test_filters_must_all_fit(filters: list[str], found: bool) -> None:
    assert is_there(failed_greeting(), *filters) == found


def test_what_is_put_back_runs_again(greet: Mock) -> None:
    task_id = failed_greeting()
    greet.side_effect = ["Hello, Ada!"]

    assert command("requeue", task_id) == (0, f"requeued {task_id}\n")
    wait_until(lambda: greet.call_count == 2, "the task to run again")
    assert not is_there(task_id)


def test_how_often_it_was_put_back_is_counted(greet: Mock) -> None:
    task_id = failed_greeting()
    for times in (1, 2):
        command("requeue", task_id)
        wait_until(lambda: is_there(task_id), "the dead letter")
        assert json.loads(command("show", task_id)[1])["requeued"] == times


def test_nothing_is_put_back_unless_one_says_what(greet: Mock) -> None:
    task_id = failed_greeting()

    assert command("requeue") == (1, "Which? Name ids or a filter, or say --all.\n")
    assert command("requeue", "unknown") == (1, "There is no dead letter unknown.\n")
    assert is_there(task_id)
    assert greet.call_count == 1


@pytest.mark.usefixtures("greet")
def test_they_are_forgotten_when_one_says_yes() -> None:
    task_id = failed_greeting()

    assert command("purge", answer="n\n")[0] == 1
    assert command("purge", "--task", "another")[0] == 0
    assert is_there(task_id)
    assert "forgot " in command("purge", answer="y\n")[1]
    assert not is_there(task_id)


def test_the_oldest_makes_room_for_the_newest(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    most = settings.model_copy(update={"max_dead_letters": 2})
    monkeypatch.setattr(dead_letters, "settings", most)
    for task_id in ("first", "second", "third"):
        headers = {"id": task_id, "task": "hello.greet"}
        message = Message("[]", headers=headers, delivery_info={"routing_key": "default"})
        dead_letters.bury(app, message, "failed", "an error")

    assert [is_there(task_id) for task_id in ("first", "second", "third")] == [False, True, True]
    assert "the oldest dead letters are dropped soon" in caplog.text


def test_a_task_that_cannot_be_kept_goes_back_and_runs_again(
    greet: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = Mock(side_effect=[ConnectionError, dead_letters._send])
    monkeypatch.setattr(dead_letters, "_send", lambda *args, **options: send()(*args, **options))
    failed_greeting()

    assert greet.call_count == 2
