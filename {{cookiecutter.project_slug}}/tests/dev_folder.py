"""A copy of the project in which `dev` runs, as its user has it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from {{ cookiecutter.__package_slug }}.settings import Settings

PACKAGE = "{{ cookiecutter.__package_slug }}"
PROJECT = Path(__file__).parents[1]
# What `dev` reads is among these: the project, without what is hidden or was made by running it.
NEEDED = {path.name for path in PROJECT.iterdir() if not path.name.startswith(".")} - {
    "data",
    "dist",
    "tests",
}
# Seconds. A machine that is busy with other things must not fail a test.
TIMEOUT = 60


@dataclass(frozen=True)
class Folder:
    """A copy of the project: nothing here touches the checkout, nor its `.dev` and `.env`."""

    path: Path
    environment: dict[str, str]

    @property
    def environment_file(self) -> Path:
        return self.path / ".dev" / "env"

    @property
    def log(self) -> Path:
        return self.path.with_suffix(".log")

    @contextmanager
    def starting(self) -> Iterator["subprocess.Popen[bytes]"]:
        command = [sys.executable, "-m", PACKAGE, "dev"]
        with self.log.open("wb") as output:
            dev = subprocess.Popen(
                command,
                cwd=self.path,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            yield dev
        finally:
            dev.terminate()
            ended(dev)

    @contextmanager
    def running(self) -> Iterator["subprocess.Popen[bytes]"]:
        with self.starting() as dev:
            self.wait_until(lambda: "In another terminal" in self.log.read_text(), "it to be ready")
            yield dev

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run the project's command as another terminal does."""
        return subprocess.run(
            [sys.executable, "-m", PACKAGE, *arguments],
            cwd=self.path,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"waited {TIMEOUT} s for {what}. dev said:\n{self.log.read_text()}")
            time.sleep(0.02)

    def processes(self) -> dict[int, str]:
        """Number and command line of all that run here; they never leave the folder."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it ended meanwhile
                if (process / "cwd").readlink().is_relative_to(self.path):
                    found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
        return found


def ended(dev: "subprocess.Popen[bytes]") -> int:
    """The status it ends with after it was told to."""
    try:
        return dev.wait(TIMEOUT)
    except subprocess.TimeoutExpired:
        dev.kill()
        dev.wait()
        raise


def press_ctrl_c(dev: "subprocess.Popen[bytes]") -> None:
    """A terminal tells all processes of the command in front, unless they left its session."""
    os.killpg(dev.pid, signal.SIGINT)


def copy_project(path: Path, probe: str) -> dict[str, str]:
    """With these tasks beside its own. Returns the environment for it."""
    path.mkdir()
    for source in [PROJECT / name for name in NEEDED]:
        if source.is_dir():
            shutil.copytree(source, path / source.name)
        else:
            shutil.copy2(source, path)
    (path / PACKAGE / "tasks" / "probe.py").write_text(probe)
    # Neither the settings of these tests nor the developer's own.
    names = os.environ.keys() - {name.upper() for name in Settings.model_fields}
    paths = [str(path), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {name: os.environ[name] for name in names} | {"PYTHONPATH": os.pathsep.join(paths)}
