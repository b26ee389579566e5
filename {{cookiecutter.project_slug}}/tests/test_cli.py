"""`submit`: a job from the command line, watched to its end, and refused before it is sent."""

import inspect
import io
import json
import re
import threading
from collections.abc import Callable, Generator
from typing import Any, Literal

import pytest
from celery.result import AsyncResult
from typer.testing import CliRunner

from {{ cookiecutter.__package_slug }} import cli
from {{ cookiecutter.__package_slug }}.jobs import Progress, hello
from {{ cookiecutter.__package_slug }}.progress import publish

pytestmark = pytest.mark.usefixtures("worker")


class Terminal(io.StringIO):
    """Lets a job wait until its user reads these words."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self.words = words
        self.shows_words = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.words in self.getvalue():
            self.shows_words.set()
        return written


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "LOOK_EVERY", 0.005)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], object]], None]:
    """Makes `hello.greet` do another job."""
    return lambda job: monkeypatch.setattr(hello, "greet", job)


def submit(*arguments: str) -> tuple[int, str, str]:
    """Status, standard output and standard error."""
    result = CliRunner().invoke(cli.app, ["submit", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_the_result_is_printed_as_json_and_the_rest_beside_it() -> None:
    status, output, errors = submit("hello.greet", "name=Ada")

    assert (status, json.loads(output)) == (0, "Hello, Ada!")
    assert errors.startswith("submitted hello.greet, id ")


def test_without_a_wait_the_id_leads_to_the_result() -> None:
    status, output, errors = submit("--no-wait", "hello.greet", "name=Ada")
    result: AsyncResult[str] = AsyncResult(errors.split()[-1])

    assert (status, output) == (0, "")
    assert result.get(timeout=10, interval=0.01) == "Hello, Ada!"


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (str, "Ada Lovelace", "Ada Lovelace"),
        (str, "a=b", "a=b"),
        (str, "1.10", "1.10"),
        (str, "null", "null"),
        (int, "12", 12),
        (float, "1.5", 1.5),
        (bool, "true", True),
        (str | None, "null", None),
        (str | None, "2026-11-20", "2026-11-20"),
        (list[str], '["Ada", "Grace"]', ["Ada", "Grace"]),
        (dict[str, float], '{"first": 1.5}', {"first": 1.5}),
        (Literal["sum", "mean"], "sum", "sum"),
    ],
)
def test_a_value_has_the_type_of_its_parameter(kind: Any, text: str, value: object) -> None:
    assert cli._typed(kind, text) == value


@pytest.mark.parametrize(
    ("kind", "text"), [(int, "x"), (list[str], "Ada"), (Literal["sum", "mean"], "max")]
)
def test_a_value_of_another_type_is_no_value(kind: Any, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        cli._typed(kind, text)


def test_a_task_without_types_takes_json_or_else_text() -> None:
    def job(name, **more):  # type: ignore[no-untyped-def]
        """Says nothing about what it takes."""

    texts = ["name=Ada", "count=2", 'friends=["Grace"]']
    keywords = cli._keywords("job", inspect.signature(job), texts)

    assert keywords == {"name": "Ada", "count": 2, "friends": ["Grace"]}


def test_an_argument_that_is_given_twice_is_refused() -> None:
    status, output, _ = submit("hello.greet", "name=Ada", "name=Grace")

    assert status == 1
    assert "name is given twice" in output


def test_an_unknown_task_is_answered_with_those_that_exist() -> None:
    status, output, _ = submit("hello.great", "name=Ada")

    assert status == 1
    assert "There is no task 'hello.great'." in output
    assert "\n  hello.greet\n" in output
    assert "celery." not in output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nom=Ada"], "missing a required argument: 'name'"),
        ([], "missing a required argument: 'name'"),
        (["name=Ada", "age=36"], "got an unexpected keyword argument 'age'"),
    ],
)
def test_arguments_that_do_not_fit_are_answered_with_those_that_do(
    arguments: list[str], reason: str
) -> None:
    status, output, errors = submit("hello.greet", *arguments)

    assert status == 1
    assert "hello.greet(name: str)" in output
    assert reason in output
    assert "submitted" not in errors


def test_an_argument_without_a_name_is_answered_with_an_example() -> None:
    status, output, _ = submit("hello.greet", "Ada")

    assert status == 1
    assert "'Ada' is no argument: write name=value" in output


def test_a_task_that_fails_ends_the_command_with_its_reason(
    use: Callable[[Callable[[str], object]], None],
) -> None:
    def fail(name: str) -> str:
        raise ValueError(f"nobody is called {name}")

    use(fail)
    status, output, _ = submit("hello.greet", "name=Ada")

    assert status == 1
    assert "failure: ValueError('nobody is called Ada')" in output


def test_progress_is_shown_while_the_task_runs(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    use: Callable[[Callable[[str], object]], None],
) -> None:
    terminal = Terminal("half of Ada")
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")

    def work(name: str) -> Generator[Progress, None, str]:
        yield Progress(1, 2, f"half of {name}")
        assert terminal.shows_words.wait(10), "nothing was shown"
        return "done"

    use(lambda name: publish(work(name)))
    cli.app(["submit", "hello.greet", "name=Ada"], standalone_mode=False)

    assert capsys.readouterr().out == '"done"\n'
    assert "50%" in terminal.getvalue()
