"""`submit` watches its task: it shows progress, prints the result, and tells of a failure."""

import io
import json
import threading
from collections.abc import Callable, Generator

import pytest
from celery.result import AsyncResult
from test_cli import submit

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


def test_the_result_is_printed_as_json_and_the_rest_beside_it() -> None:
    status, output, errors = submit("hello.greet", "name=Ada")

    assert (status, json.loads(output)) == (0, "Hello, Ada!")
    assert errors.startswith("submitted hello.greet, id ")


def test_without_a_wait_the_id_leads_to_the_result() -> None:
    status, output, errors = submit("--no-wait", "hello.greet", "name=Ada")
    result: AsyncResult[str] = AsyncResult(errors.split()[-1])

    assert (status, output) == (0, "")
    assert result.get(timeout=10, interval=0.01) == "Hello, Ada!"


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
