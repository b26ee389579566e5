"""Runs the test suites of rendered projects, each distinct one once, on all cores."""

import copy
import hashlib
import itertools
import json
import os
import shutil
import subprocess
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from environments import OF_CONTAINERS, Superset, described, requirements

RUNNER = Path(__file__).with_name("suite_runner.py")
# What a test in a rendered project can read. Nothing else is there when it runs, so projects that
# agree in these have the same outcome.
READ_BY_TESTS = (
    "alembic.ini",
    "docs/operations.md",
    "flowerconfig.py",
    "gunicorn.conf.py",
    "migrations",
    "monitoring/alerts",
    "pyproject.toml",
    "tests",
)
PLUGINS = ("-p", "pytest_timeout", "-p", "pytest_randomly")
# Suites wait now and then, for a thread or a process, but with little patience.
AT_ONCE = 2 * (os.cpu_count() or 1)
# Those with real processes compute for two thirds of their time, beside other tests.
LIVE_AT_ONCE = 1 + (os.cpu_count() or 1)
# So many suites are worth another runner, which has to import the libraries first.
WORTH_A_RUNNER = 3
MEMORY = Path("/dev/shm")


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
        counts = f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"
        return f"{counts}, exit status {self.status}\n{self.output}"


@dataclass(frozen=True)
class Suite:
    files: dict[str, bytes]
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    outcome: Future[Outcome] = field(default_factory=Future)


class Suites:
    """Runs suites in warm processes, one or more for each set of packages."""

    def __init__(
        self,
        superset: Superset,
        scratch: Path,
        at_once: int = AT_ONCE,
        worth_a_runner: int = WORTH_A_RUNNER,
    ) -> None:
        self._superset = superset
        self._worth_a_runner = worth_a_runner
        self._scratch = MEMORY if MEMORY.is_dir() else scratch
        self._outcomes: dict[str, Future[Outcome]] = {}
        self._waiting: dict[Path, list[Suite]] = {}
        self._runners: dict[Path, int] = defaultdict(int)
        self._changed = threading.Condition()
        self._closing = False
        # What suites have imported so far, in that order.
        self._modules: dict[str, None] = {}
        # Content -> a time stamp that no other content has, by which Python knows its bytecode.
        self._stamps: dict[bytes, int] = defaultdict(itertools.count(1_000_000_000).__next__)
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(at_once)]
        for thread in self._threads:
            thread.start()

    def submit(self, project: Path, *arguments: str, **environment: str) -> Future[Outcome]:
        """Run a project's tests; one that was seen before gets the outcome it had."""
        files = dict(_files(project))
        key = _key(project, files, arguments)
        if key not in self._outcomes:
            suite = Suite(files, arguments, environment)
            self._outcomes[key] = suite.outcome
            view = self._superset.view(requirements(project))
            with self._changed:
                self._waiting.setdefault(view, []).append(suite)
                self._changed.notify_all()
        return self._outcomes[key]

    def __len__(self) -> int:
        return len(self._outcomes)

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        with TemporaryDirectory(dir=self._scratch) as scratch:
            while view := self._next_view():
                self._serve(view, Path(scratch))

    def _next_view(self) -> Path | None:
        """Packages for which suites wait: the first that nobody runs, or not enough do."""
        with self._changed:
            while not self._closing:
                for view, suites in self._waiting.items():
                    if len(suites) > self._runners[view] * self._worth_a_runner:
                        self._runners[view] += 1
                        return view
                self._changed.wait()
        return None

    def _next_suite(self, view: Path) -> Suite | None:
        with self._changed:
            if suites := self._waiting.get(view):
                return suites.pop(0)
            self._waiting.pop(view, None)
            self._runners[view] -= 1
            return None

    def _serve(self, view: Path, scratch: Path) -> None:
        with self._start(view, scratch) as runner:
            known = 0
            while suite := self._next_suite(view):
                modules = list(self._modules)
                # Forks end at once, without tidying up their temporary files.
                shutil.rmtree(scratch / "tmp", ignore_errors=True)
                (scratch / "tmp").mkdir()
                try:
                    self._place(suite.files, scratch / "project")
                    outcome = self._ask(runner, scratch / "project", suite, modules[known:])
                    suite.outcome.set_result(outcome)
                except Exception as problem:
                    suite.outcome.set_exception(problem)
                known = len(modules)

    def _ask(
        self, runner: subprocess.Popen[str], folder: Path, suite: Suite, modules: list[str]
    ) -> Outcome:
        assert runner.stdin
        assert runner.stdout
        arguments = [*PLUGINS, "-q", *suite.arguments]
        call = {
            "folder": str(folder),
            "arguments": arguments,
            "environment": suite.environment,
            "modules": modules,
        }
        print(json.dumps(call), file=runner.stdin, flush=True)
        answer: dict[str, Any] = json.loads(runner.stdout.readline())
        self._modules |= dict.fromkeys(answer.pop("modules", ()))
        return Outcome(**answer)

    def _start(self, view: Path, scratch: Path) -> subprocess.Popen[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ.get("HOME", "/"),
            "TMPDIR": str(scratch / "tmp"),
            # All cores are busy with other suites.
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "POLARS_MAX_THREADS": "1",
            # A folder without certificates: to read the system's for each HTTP client takes longer
            # than most tests, and none of them needs one.
            "SSL_CERT_DIR": str(scratch),
            # Plugins of other combinations' packages must not load themselves.
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        }
        return subprocess.Popen(
            [self._superset.bare_python, "-I", RUNNER, view],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def _place(self, files: dict[str, bytes], folder: Path) -> None:
        """Make a folder hold just these files and the bytecode of those that were there before.

        Suites run one after the other in the same folder, so that what does not differ between
        them, which is most, is compiled and rewritten once.
        """
        targets = {folder / name: content for name, content in files.items()}
        folders = {folder, *(folder / parent for name in files for parent in Path(name).parents)}
        kept = folders | {parent / "__pycache__" for parent in folders}
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                if path not in kept:
                    shutil.rmtree(path)
            elif path.parent.name != "__pycache__":
                path.unlink()
        for parent in folders:
            parent.mkdir(parents=True, exist_ok=True)
        for path, content in targets.items():
            path.write_bytes(content)
            os.utime(path, (self._stamps[content],) * 2)


def _files(project: Path) -> Iterator[tuple[str, bytes]]:
    package = described(project)["tool"]["uv"]["build-backend"]["module-name"]
    for top in (project / name for name in (*READ_BY_TESTS, package)):
        for path in [top, *sorted(top.rglob("*"))]:
            if path.is_file():
                yield str(path.relative_to(project)), path.read_bytes()


def _key(project: Path, files: dict[str, bytes], arguments: tuple[str, ...]) -> str:
    settings = copy.deepcopy(described(project))
    # The licence and the linter's rules are on lines that no test reads.
    del settings["project"]["license"], settings["tool"]["ruff"]
    # No suite here runs the tests of the containers, which have a test of their own.
    options = settings["tool"]["pytest"]["ini_options"]
    options["addopts"] = [word.replace(" and not stack", "") for word in options["addopts"]]
    options["markers"] = [line for line in options["markers"] if not line.startswith("stack:")]
    digest = hashlib.sha256(repr((arguments, settings)).encode())
    for name, content in files.items():
        if name not in ("pyproject.toml", *OF_CONTAINERS):
            digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
