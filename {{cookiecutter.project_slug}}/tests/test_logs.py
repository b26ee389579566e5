"""Logs: every line of a task says which one it is, in a form that machines or people read."""

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from celery.app import trace
from celery.signals import before_task_publish
from celery.worker import strategy
from live_service import wait_until
from structlog.contextvars import bind_contextvars

from {{ cookiecutter.__package_slug }} import logs
from {{ cookiecutter.__package_slug }}.jobs import hello
from {{ cookiecutter.__package_slug }}.run_async import run_async
from {{ cookiecutter.__package_slug }}.settings import Settings
from {{ cookiecutter.__package_slug }}.tasks.hello import greet

log = structlog.stdlib.get_logger("shop")
library = logging.getLogger("library")


class Output(io.StringIO):
    """Where standard error goes, which may be a terminal."""

    on_terminal = False

    def isatty(self) -> bool:
        return self.on_terminal

    def lines(self, *loggers: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.getvalue().splitlines()]
        return [line for line in lines if line["logger"] in loggers]


class Terminal(Output):
    on_terminal = True


Configure = Callable[..., Output]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """Configures the logs of a process that starts with these settings."""
    root, arrivals = logging.getLogger(), strategy.logger
    handlers, level, level_of_arrivals = root.handlers[:], root.level, arrivals.level

    def configure_logs(output: Output, level: int = logging.CRITICAL, **settings: Any) -> Output:
        monkeypatch.setattr("sys.stderr", output)
        monkeypatch.setattr(logs, "settings", Settings(_env_file=None, **settings))
        logs.configure(level)
        return output

    yield configure_logs
    root.handlers = handlers
    root.setLevel(level)
    arrivals.setLevel(level_of_arrivals)


@pytest.fixture
def output(worker: None, configure: Configure) -> Output:
    return configure(Output(), log_format="json")


def run(monkeypatch: pytest.MonkeyPatch, job: Callable[[str], object], *names: str) -> list[str]:
    """Run the job in place of `hello.greet`, at once for all names; the tasks' ids."""
    monkeypatch.setattr(hello, "greet", job)
    results = [greet.delay(name) for name in names]
    for result in results:
        result.get(timeout=10, interval=0.01)
    return [result.id for result in results]


def test_every_line_of_a_task_names_it(monkeypatch: pytest.MonkeyPatch, output: Output) -> None:
    async def work_more() -> None:
        log.info("works more")

    def work(name: str) -> None:
        log.info("works")
        library.warning("helps %s", name)
        run_async(work_more())

    (task_id,) = run(monkeypatch, work, "Ada")
    lines = output.lines("shop", "library")

    assert [line["event"] for line in lines] == ["works", "helps Ada", "works more"]
    names = ("task", "task_id", "attempt", "queue", "correlation_id")
    told = {tuple(line[name] for name in names) for line in lines}
    assert told == {("hello.greet", task_id, 1, "default", task_id)}


def test_lines_of_its_worker_name_it_too(monkeypatch: pytest.MonkeyPatch, output: Output) -> None:
    def fail(name: str) -> None:
        raise LookupError(name)

    with (
        structlog.contextvars.bound_contextvars(correlation_id="a request"),
        pytest.raises(LookupError),
    ):
        run(monkeypatch, fail, "Ada")
    writer = "{{ cookiecutter.__package_slug }}.dead_letters"
    wait_until(lambda: output.lines(writer), "the line of the dead letter")

    (buried,) = output.lines(writer)
    assert buried["event"] == "a task is among the dead letters"
    assert buried["task_id"] == buried["id"]
    assert (buried["attempt"], buried["correlation_id"]) == (1, "a request")


def test_what_is_said_and_sent_for_a_task_outside_of_its_run_is_marked(
    configure: Configure,
) -> None:
    output = configure(Output(), log_format="json")
    headers = {"task": "hello.greet", "id": "a task", "root_id": "its first"}
    sent: dict[str, Any] = {}
    with logs.of_message(SimpleNamespace(headers=headers, delivery_info={})):
        library.warning("is away")
        before_task_publish.send("errors.tell", headers=sent)
    library.warning("is back")

    during, after = output.lines("library")
    assert (during["task"], during["task_id"]) == ("hello.greet", "a task")
    assert sent[logs.HEADER] == during["correlation_id"] == "its first"
    assert "task" not in after


def test_what_a_task_sends_is_marked_with_the_same_id(
    monkeypatch: pytest.MonkeyPatch, output: Output
) -> None:
    def work(name: str) -> None:
        log.info("works", name=name)
        if name == "Ada":
            greet.delay("Grace").get(timeout=10, interval=0.01, disable_sync_subtasks=False)

    with structlog.contextvars.bound_contextvars(correlation_id="the first request"):
        run(monkeypatch, work, "Ada")

    told = {line["name"]: line["correlation_id"] for line in output.lines("shop")}
    assert told == {"Ada": "the first request", "Grace": "the first request"}


def test_a_task_that_succeeds_has_one_line(monkeypatch: pytest.MonkeyPatch, output: Output) -> None:
    (task_id,) = run(monkeypatch, lambda name: None, "Ada")
    wait_until(lambda: " succeeded in " in output.getvalue(), "the end of the task")

    assert output.getvalue().count(f"hello.greet[{task_id}]") == 1


@pytest.mark.parametrize(
    ("asked", "is_told"),
    [({}, False), ({"log_level": "DEBUG"}, True), ({"log_values": True}, True)],
)
def test_the_arrival_of_a_task_is_told_to_who_debugs_or_asks_for_its_values(
    configure: Configure, asked: dict[str, Any], is_told: bool
) -> None:
    configure(Output(), **asked)

    assert strategy.logger.isEnabledFor(logging.INFO) == is_told
    assert strategy.logger.isEnabledFor(logging.ERROR)


def test_a_result_is_in_no_line(monkeypatch: pytest.MonkeyPatch, output: Output) -> None:
    run(monkeypatch, lambda name: "".join(["hunter", "2"]), "Ada")

    # The result may be there a moment before the line.
    wait_until(lambda: " succeeded in " in output.getvalue(), "the end of the task")
    assert "hunter2" not in output.getvalue()


def test_values_are_told_to_who_asks_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for line in ("LOG_RECEIVED", "LOG_SUCCESS"):
        monkeypatch.setattr(trace, line, getattr(trace, line))
    monkeypatch.setattr(logs, "settings", Settings(_env_file=None, log_values=True))
    logs.connect()

    assert trace.LOG_RECEIVED.endswith("with %(args)s and %(kwargs)s")


def test_tasks_that_run_at_the_same_time_are_not_mixed_up(
    monkeypatch: pytest.MonkeyPatch, output: Output
) -> None:
    both_run = threading.Barrier(2)

    def work(name: str) -> None:
        both_run.wait(10)
        log.info("works", name=name)

    ids = run(monkeypatch, work, "Ada", "Grace")

    told = {line["name"]: line["task_id"] for line in output.lines("shop")}
    assert told == dict(zip(["Ada", "Grace"], ids, strict=True))


def test_a_line_outside_of_a_task_names_none(configure: Configure) -> None:
    output = configure(Output(), log_format="json")
    log.info("starts")

    (line,) = output.lines("shop")
    assert line.keys() == {"event", "level", "logger", "timestamp"}
    assert (line["event"], line["level"]) == ("starts", "info")


def test_a_line_of_a_library_says_what_ones_own_would(configure: Configure) -> None:
    output = configure(Output(), log_format="json")
    with structlog.contextvars.bound_contextvars(event="a concert", thing=SimpleNamespace()):
        log.warning("runs low", paper="Grüße")
        logging.getLogger("shop").warning("runs %s", "low", extra={"paper": "in no line"})

    own, other = output.lines("shop")
    stamps = [line.pop("timestamp") for line in (own, other)]
    assert own.pop("paper") == "Grüße"
    assert other == own
    assert own["event"] == "runs low"
    assert stamps == sorted(stamps, key=datetime.fromisoformat)
    assert {stamp[-1] for stamp in stamps} == {"Z"}


def test_a_library_s_line_holds_its_traceback(configure: Configure) -> None:
    output = configure(Output(), log_format="json")
    try:
        raise LookupError("two\nlines")
    except LookupError:
        library.exception("fails")

    (line,) = output.lines("library")
    assert (line["event"], line["level"]) == ("fails", "error")
    assert line["exception"].endswith("LookupError: two\nlines")


def test_what_a_task_binds_to_its_lines_is_gone_for_the_next(
    monkeypatch: pytest.MonkeyPatch, output: Output
) -> None:
    # As many as the worker has threads, so that one of them gets the thread of the first task.
    all_run = threading.Barrier(4)

    def bind(name: str) -> None:
        bind_contextvars(customer=name)

    def work(name: str) -> None:
        all_run.wait(10)
        log.info("works")

    run(monkeypatch, bind, "Ada")
    run(monkeypatch, work, *["Grace"] * 4)

    lines = output.lines("shop")
    assert len(lines) == 4
    assert not any("customer" in line for line in lines)


def test_a_line_of_json_holds_a_whole_traceback_and_any_value(configure: Configure) -> None:
    output = configure(Output(), log_format="json")
    try:
        raise LookupError("two\nlines")
    except LookupError:
        log.exception("fails", thing=object(), text="Grüße\n")

    (line,) = output.lines("shop")
    assert line["exception"].endswith("LookupError: two\nlines")
    assert line["thing"].startswith("<object object")
    assert line["text"] == "Grüße\n"


def test_people_read_lines_of_words(configure: Configure) -> None:
    output = configure(Output(), log_format="console")
    log.warning("runs low", paper=3)

    (line,) = output.getvalue().splitlines()
    assert "[warning  ] runs low" in line
    assert line.endswith("paper=3")
    assert "\033" not in line


@pytest.mark.parametrize(("output", "is_coloured"), [(Terminal(), True), (Output(), False)])
def test_by_itself_a_terminal_shows_words_and_a_file_json(
    configure: Configure, output: Output, is_coloured: bool
) -> None:
    configure(output, log_format="auto")
    log.info("starts")

    assert ("\033[" in output.getvalue()) == is_coloured
    assert output.getvalue().startswith("{") != is_coloured


def test_a_traceback_for_people_does_not_show_the_values_of_variables(configure: Configure) -> None:
    output = configure(Output(), log_format="console")
    password = "".join(["hunter", "2"])
    try:
        raise LookupError(len(password))
    except LookupError:
        log.exception("fails")

    assert "LookupError: 7" in output.getvalue()
    assert "hunter2" not in output.getvalue()


@pytest.mark.parametrize(
    ("log_level", "worker_level", "shown"),
    [
        ("WARNING", logging.CRITICAL, ["warning"]),
        ("INFO", logging.CRITICAL, ["info", "warning"]),
        ("WARNING", logging.DEBUG, ["debug", "info", "warning"]),
    ],
)
def test_the_more_talkative_of_setting_and_worker_decides(
    configure: Configure, log_level: str, worker_level: int, shown: list[str]
) -> None:
    output = configure(Output(), worker_level, log_level=log_level, log_format="json")
    for level in ("debug", "info", "warning"):
        library.log(logging.getLevelNamesMapping()[level.upper()], level)

    assert [line["event"] for line in output.lines("library")] == shown
