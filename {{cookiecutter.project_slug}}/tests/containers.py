"""A copy of the project whose containers are up, for the tests that are marked `stack`."""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from {{ cookiecutter.__package_slug }}.ports import free_port

PROJECT = Path(__file__).parents[1]
# Not the one that the user runs: it will hold code that a test has changed.
IMAGE = "{{ cookiecutter.project_slug }}-under-test"
# Seconds. A machine that is busy with other things must not fail a test.
TIMEOUT = 240
NOT_COPIED = shutil.ignore_patterns(".venv", ".git", ".dev", ".*_cache", "__pycache__", ".env")


@dataclass(frozen=True)
class Stack:
    """The project's containers, and a folder in which their tasks write."""

    folder: Path
    data: Path
    environment: dict[str, str]

    def docker(self, *arguments: str, fails: bool = False) -> str:
        """What the command prints."""
        ran = subprocess.run(
            ["docker", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT * 2,
        )
        said = f"{arguments}\n{ran.stdout[-3000:]}\n{ran.stderr[-3000:]}"
        assert bool(ran.returncode) == fails, said
        return ran.stderr if fails else ran.stdout

    def compose(self, *arguments: str, fails: bool = False) -> str:
        return self.docker("compose", *arguments, fails=fails)

    def log(self, container: str) -> str:
        command = ["docker", "logs", container]
        # The service writes to standard error, which Docker keeps apart.
        return subprocess.check_output(
            command, env=self.environment, stderr=subprocess.STDOUT, text=True
        )

    def services(self) -> set[str]:
        """Those that run, without what stands in for another server on this machine only."""
        running = self.compose("ps", "--services", "--status=running").split()
        own = self.compose("--file=compose.yaml", "config", "--services").split()
        return {*running} & {*own}

    def container(self, service: str) -> str:
        return self.compose("ps", "--quiet", service).split()[0]

    def lines(self, file: str) -> list[str]:
        path = self.data / file
        return path.read_text().split() if path.exists() else []


@contextmanager
def running(folder: Path, probe: str, changed: Mapping[str, Any]) -> Iterator[Stack]:
    """With this module beside the package, and these changes of compose.yaml."""
    if not _engine_runs():
        reason = "Docker Engine must run for this"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    shutil.copytree(PROJECT, folder, ignore=NOT_COPIED)
    data = folder / "test-data"
    data.mkdir()
    # Whoever the container's user is.
    data.chmod(0o777)
    (folder / "probe.py").write_text(probe)
    (folder / "compose.test.yaml").write_text(json.dumps({"services": changed}))
    # Later ones change what earlier ones say.
    files = sorted((file.name for file in folder.glob("compose*.yaml")), key="compose.yaml".__ne__)
    ports = {name: str(free_port()) for name in re.findall(r"\$\{(\w+_PORT):-", _compose_files())}
    # Where a user has them: the containers are given that file, too.
    (folder / ".env").write_text("".join(f"{name}={port}\n" for name, port in ports.items()))
    stack = Stack(
        folder,
        data,
        os.environ
        | {name: f"admin:{secrets.token_hex(8)}" for name in needed_secrets() if "AUTH" in name}
        | {name: secrets.token_hex(8) for name in needed_secrets() if "AUTH" not in name}
        | ports
        | {
            "COMPOSE_PROJECT_NAME": f"test-{folder.parent.name}-{secrets.token_hex(3)}",
            "COMPOSE_FILE": ":".join(files),
            "SERVICE_IMAGE": IMAGE,
        },
    )
    try:
        stack.compose("up", "--build", "--wait", "--wait-timeout", str(TIMEOUT))
        yield stack
    finally:
        sys.stderr.write(stack.compose("logs", "--tail", "30"))
        stack.compose("down", "--volumes", "--timeout", "1")


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {TIMEOUT} s for {what}")
        time.sleep(0.1)


def wait_for_more(stack: Stack, file: str) -> None:
    enough = len(stack.lines(file)) + 10
    wait_until(lambda: len(stack.lines(file)) >= enough, f"more lines in {file}")


def needed_secrets() -> list[str]:
    """The names without which nothing starts."""
    return sorted(set(re.findall(r"\$\{(\w+):\?", _compose_files())))


def published(stack: Stack) -> set[str]:
    """The addresses of this machine at which containers can be reached."""
    containers = json.loads(f"[{','.join(stack.compose('ps', '--format=json').splitlines())}]")
    return {
        publisher["URL"]
        for container in containers
        for publisher in container["Publishers"] or []
        if publisher["PublishedPort"]
    }


def _compose_files() -> str:
    """The text of compose.yaml, and of what it includes."""
    found = [PROJECT / "compose.yaml", PROJECT / "monitoring/compose.yaml"]
    return "".join(path.read_text() for path in found if path.exists())


def _engine_runs() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    return subprocess.run([docker, "info"], capture_output=True).returncode == 0
