"""Log lines of many threads: all are written, in order, and none is lost at the end."""

import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread, Timer
from typing import TextIO

import pytest
from live_service import TIMEOUT, wait_until

from {{ cookiecutter.__package_slug }} import log_writer, thread_pool
from {{ cookiecutter.__package_slug }}.log_writer import LogWriter

PACKAGE = "{{ cookiecutter.__package_slug }}"
SAYS = f"""
import logging, sys
from {PACKAGE} import log_writer
logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stderr)
log_writer.take_over()
for number in range(1000):
    logging.info("%d", number)
"""


class Held(io.StringIO):
    """What nobody reads until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.released = Event(), Event()

    def write(self, text: str) -> int:
        self.begun.set()
        assert self.released.wait(TIMEOUT), "nobody has released it"
        return super().write(text)


class Broken(io.StringIO):
    """What is read by nobody any more, for once."""

    def write(self, text: str) -> int:
        if text == "lost\n":
            raise BrokenPipeError
        return super().write(text)


def logger_to(stream: TextIO) -> tuple[logging.Logger, LogWriter]:
    logger, writer = logging.Logger("told"), LogWriter(stream)
    logger.addHandler(writer)
    return logger, writer


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def root(stream: io.StringIO) -> Iterator[logging.Logger]:
    root = logging.getLogger()
    before = root.handlers
    root.handlers = [logging.StreamHandler(stream), logging.NullHandler()]
    yield root
    root.handlers = before


def test_the_pool_has_one_thread_write_in_the_form_that_lines_had(
    root: logging.Logger, stream: io.StringIO
) -> None:
    root.handlers[0].setFormatter(logging.Formatter("so: %(message)s"))
    thread_pool.TaskPool(1).start()
    root.warning("a line")
    root.handlers[0].flush()
    assert [type(handler) for handler in root.handlers[:2]] == [LogWriter, logging.NullHandler]
    assert stream.getvalue() == "so: a line\n"


def test_all_lines_of_many_threads_are_written_whole_and_in_order(stream: io.StringIO) -> None:
    logger, writer = logger_to(stream)

    def say(name: str) -> None:
        for number in range(200):
            logger.info("%s %d", name, number)

    with ThreadPoolExecutor(8) as threads:
        for name in "abcdefgh":
            threads.submit(say, name)
    writer.flush()
    lines = stream.getvalue().splitlines()

    assert len(lines) == 1600
    for name in "abcdefgh":
        own = [line for line in lines if line.startswith(name)]
        assert own == [f"{name} {number}" for number in range(200)]


@pytest.mark.parametrize("end", ["", "logging.shutdown(); import os; os._exit(0)"], ids=repr)
def test_what_is_said_last_is_written_before_the_process_ends(end: str) -> None:
    command = [sys.executable, "-c", SAYS + end]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True)
    assert done.stderr.splitlines() == [str(number) for number in range(1000)]


def test_a_line_after_the_end_is_written_at_once(stream: io.StringIO) -> None:
    logger, writer = logger_to(stream)
    logger.info("before")
    writer.close()
    logger.info("after")
    assert stream.getvalue() == "before\nafter\n"


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_writes_its_own_lines_and_no_others(tmp_path: Path) -> None:
    told = tmp_path / "told"
    with told.open("a") as file:
        logger, writer = logger_to(file)
        logger.info("of the parent")
        child = os.fork()
        if not child:
            logger.info("of the child")
            os._exit(0)
        os.waitpid(child, 0)
        writer.flush()
        assert sorted(told.read_text().splitlines()) == ["of the child", "of the parent"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_no_fork_takes_along_half_a_line() -> None:
    held = Held()
    logger, _ = logger_to(held)
    logger.info("whole")
    assert held.begun.wait(TIMEOUT), "nobody writes"
    Timer(0.1, held.released.set).start()
    child = os.fork()
    if not child:
        os._exit(held.getvalue() != "whole\n")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_whoever_has_more_to_say_than_may_wait_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "MOST_WAITING", 10)
    held = Held()
    logger, writer = logger_to(held)
    said: list[int] = []

    def say() -> None:
        for number in range(100):
            logger.info("%d", number)
            said.append(number)

    speaking = Thread(target=say, daemon=True)
    speaking.start()
    wait_until(lambda: len(said) >= 10, "some lines to be said")
    speaking.join(0.2)
    assert len(said) < 100
    held.released.set()
    speaking.join(TIMEOUT)
    writer.flush()
    assert held.getvalue().split() == [str(number) for number in range(100)]


def test_lines_that_cannot_be_written_keep_no_others_from_it() -> None:
    broken = Broken()
    logger, writer = logger_to(broken)
    for line in ["lost", "kept"]:
        logger.info(line)
        writer.flush()
    assert broken.getvalue() == "kept\n"
