"""Runs the test suites of rendered projects, each distinct one once, on all cores."""

import hashlib
import json
import os
import shutil
import subprocess
import threading
import tomllib
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from environments import Superset, requirements

RUNNER = Path(__file__).with_name("suite_runner.py")
# What a test in a rendered project can read. Nothing else is there when it runs, so projects that
# agree in these have the same outcome.
READ_BY_TESTS = ("alembic.ini", "flowerconfig.py", "migrations", "pyproject.toml", "tests")
PLUGINS = ("-p", "pytest_timeout", "-p", "pytest_randomly")


@dataclass(frozen=True)
class Outcome:
    """What a suite did. A skipped test proves nothing, so it counts as a failure."""

    status: int | str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    output: str = ""

    def problem(self) -> str | None:
        if self.status == 0 and self.passed and not self.failed and not self.skipped:
            return None
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped\n{self.output}"


class Suites:
    """Submits suites to one warm process for each set of packages."""

    def __init__(self, superset: Superset, scratch: Path) -> None:
        self._superset = superset
        self._scratch = scratch
        self._executor = ThreadPoolExecutor(os.cpu_count())
        self._runners: dict[Path, subprocess.Popen[str]] = {}
        self._locks: dict[Path, threading.Lock] = defaultdict(threading.Lock)
        self._outcomes: dict[str, Future[Outcome]] = {}

    def submit(self, project: Path, *arguments: str) -> Future[Outcome]:
        """Run a project's tests; one that was seen before gets the outcome it had."""
        key = self._key(project, arguments)
        if key not in self._outcomes:
            folder = self._copy(project, key)
            view = self._superset.view(requirements(project))
            self._outcomes[key] = self._executor.submit(self._run, folder, view, arguments)
        return self._outcomes[key]

    def __len__(self) -> int:
        return len(self._outcomes)

    def close(self) -> None:
        self._executor.shutdown(cancel_futures=True)
        for runner in self._runners.values():
            runner.communicate()

    def _files(self, project: Path) -> list[Path]:
        package = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))
        names = (*READ_BY_TESTS, package["tool"]["uv"]["build-backend"]["module-name"])
        tops = [project / name for name in names if (project / name).exists()]
        return sorted(
            path
            for top in tops
            for path in ([top] if top.is_file() else top.rglob("*"))
            if path.is_file()
        )

    def _key(self, project: Path, arguments: tuple[str, ...]) -> str:
        digest = hashlib.sha256(repr(arguments).encode())
        for path in self._files(project):
            content = path.read_bytes()
            if path.name == "pyproject.toml":
                settings = tomllib.loads(content.decode())
                # The licence is on a line that no test reads.
                del settings["project"]["license"]
                content = repr(settings).encode()
            digest.update(f"{path.relative_to(project)}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()[:16]

    def _copy(self, project: Path, key: str) -> Path:
        folder = self._scratch / key
        for path in self._files(project):
            target = folder / path.relative_to(project)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        return folder

    def _run(self, folder: Path, view: Path, arguments: tuple[str, ...]) -> Outcome:
        with self._locks[view]:
            runner = self._runners.get(view) or self._start(view)
            assert runner.stdin
            assert runner.stdout
            call = {"folder": str(folder), "arguments": [*PLUGINS, "-q", *arguments]}
            print(json.dumps(call), file=runner.stdin, flush=True)
            answer: dict[str, Any] = json.loads(runner.stdout.readline() or '{"status": "died"}')
        shutil.rmtree(folder)
        return Outcome(**answer)

    def _start(self, view: Path) -> subprocess.Popen[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            # Plugins of other combinations' packages must not load themselves.
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        runner = self._runners[view] = subprocess.Popen(
            [self._superset.bare_python, "-I", RUNNER, view],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        return runner
