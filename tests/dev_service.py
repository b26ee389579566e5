"""A rendered project that `dev` runs, for tests that use it as its users do."""

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from combinations import TEMPLATE, Answers, Render, covering
from environments import Superset
from playwright.sync_api import Browser, sync_playwright
from test_documents import DEV_READY, Reader

# Milliseconds. A machine that is busy with other things must not fail a test.
TIMEOUT = 60_000
DEFAULTS: Answers = covering()[0]
# Each is in the projects that have what it shows.
PICTURES = TEMPLATE / "{{cookiecutter.project_slug}}" / "docs"


@dataclass(frozen=True)
class DevService:
    address: str
    key: str
    engine: str
    project: Path
    said: list[str]

    @property
    def page(self) -> str:
        return f"{self.address}/#key={self.key}"

    def told(self, pattern: str) -> list[Any]:
        """The groups of each match in what `dev` has printed."""
        return re.findall(pattern, "".join(self.said))


@contextmanager
def started(
    answers: Answers, render: Render, superset: Superset, folder: Path
) -> Iterator[DevService]:
    project = shutil.copytree(render(answers), folder / "project")
    reader = Reader(project)
    reader.environment |= {"API_RATE_LIMIT": "1000000/second", "SHUTDOWN_TIMEOUT": "1"}
    command = f"{superset.program('python')} -m order_jobs dev"
    with reader.running(command, DEV_READY) as said:
        deadline = time.monotonic() + TIMEOUT / 1000
        # The last of the lines that follow.
        while not any("Ctrl-C stops everything" in line for line in said):
            assert time.monotonic() < deadline, "`dev` did not print its addresses"
            time.sleep(0.01)
        found = re.search(r"its page: (http://\S+)/#key=(\S+)", "".join(said))
        assert found
        yield DevService(found[1], found[2], str(answers["task_engine"]), project, said)


@contextmanager
def chromium() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, names)), None)
    if not program:
        reason = "Chromium must be installed for these tests"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with sync_playwright() as playwright:
        # Its sandbox refuses to be started by root.
        yield playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
