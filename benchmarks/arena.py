"""Where candidates are measured: one Redis for all, and an environment for each kind of them."""

import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from .processes import TIMEOUT, Worker, running_worker
from .servers import Redis, running_postgres, running_redis, uv

TEMPLATE = Path(__file__).parent.parent
SUBJECTS = Path(__file__).parent / "subjects"
WANTED_PYTHON = json.loads((TEMPLATE / "cookiecutter.json").read_text())["python_version"][0]

BARE: dict[str, str | bool] = {
    "include_api": False,
    "include_docker": False,
    "include_examples": False,
    "include_flower": False,
    "include_metrics": False,
    "include_sqlalchemy": False,
}
# Name -> answers.
PROJECTS: dict[str, dict[str, str | bool]] = {
    "defaults": {},
    "prefork": {**BARE, "result_backend": "none"},
    "threads": {**BARE, "result_backend": "none", "worker_pool": "threads"},
    "gevent": {**BARE, "result_backend": "none", "worker_pool": "gevent"},
    "prefork-redis": BARE,
    "threads-redis": {**BARE, "worker_pool": "threads"},
    "prefork-postgres": {**BARE, "result_backend": "postgres"},
    "watched": {**BARE, "result_backend": "none", "include_metrics": True},
}
# Name -> packages.
PEERS = {
    "celery": ["celery[redis]"],
    "dramatiq": ["dramatiq[redis]"],
    "taskiq": ["taskiq", "taskiq-redis"],
    "arq": ["arq"],
    "huey": ["huey", "redis"],
    "rq": ["rq"],
    "redis": ["redis"],
}
# What a process needs of the one that starts it. Anything else could lead to somebody's servers.
PASSED_ON = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}


@dataclass(frozen=True)
class Candidate:
    """One way to run the jobs."""

    name: str
    # A rendered project or a peer.
    home: str
    # The module in subjects/ that sends its jobs.
    subject: str
    # What Python runs.
    worker: tuple[str, ...]
    # What happens to the jobs of a worker that is killed.
    guarantee: str
    settings: Mapping[str, str] = field(default_factory=dict)
    # How often the worker is started, where one is one process.
    copies: int = 1


@cache
def python() -> str:
    """The one that the template recommends, where the machine has it, or else this process'."""
    found = subprocess.run(
        ["uv", "python", "find", "--no-project", "--system", WANTED_PYTHON],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    return found.stdout.strip() or sys.executable


class Home:
    """A folder with an environment."""

    def __init__(self, name: str, folder: Path) -> None:
        if name in PROJECTS:
            self.folder = render(folder, PROJECTS[name])
            shutil.copy(
                SUBJECTS / "rendered_tasks.py", self.folder / "order_jobs/tasks/benchmark.py"
            )
            group = ["--group", "otel"] if name == "watched" else []
            sync = ["sync", "--quiet", "--no-dev", "--compile-bytecode", "--python", python()]
            uv(*sync, *group, cwd=self.folder)
        else:
            self.folder = folder
            uv("venv", "--quiet", "--python", python(), str(folder / ".venv"))
            install = ["pip", "install", "--quiet", "--compile-bytecode"]
            uv(*install, "--python", str(self.python), *PEERS[name])

    @property
    def python(self) -> Path:
        return self.folder / ".venv/bin/python"


def render(folder: Path, answers: Mapping[str, str | bool]) -> Path:
    given = [f"{name}={str(value).lower()}" for name, value in answers.items()]
    command = [sys.executable, "-m", "cookiecutter", "--no-input", "--output-dir", str(folder)]
    done = subprocess.run(
        [*command, str(TEMPLATE), *given], capture_output=True, text=True, timeout=TIMEOUT
    )
    if done.returncode:
        raise RuntimeError(f"The template does not render:\n{done.stdout}{done.stderr}")
    return folder / "order-jobs"


class Driver:
    """A process that sends a candidate's jobs."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        assert process.stdin
        assert process.stdout
        self._asks, self._answers, self._log = process.stdin, process.stdout, log

    def ask(self, command: str, options: Mapping[str, Any], timeout: float = TIMEOUT) -> Any:
        self._asks.write(json.dumps([command, options]).encode() + b"\n")
        ready = select.select([self._answers], [], [], timeout)[0]
        line = self._answers.readline() if ready else b""
        if not line:
            raise RuntimeError(f"{command} gets no answer:\n{self._log.read_text()[-3000:]}")
        return json.loads(line)


class Arena:
    """Owns what is started; at the end of its block nothing of it is left."""

    def __init__(self, folder: Path, redis: Redis, stack: ExitStack, quick: bool) -> None:
        self.folder, self.redis, self.is_quick = folder, redis, quick
        self._stack = stack
        self._homes: dict[str, Home] = {}

    def size(self, full: int) -> int:
        """How many, or a tenth of it to try something."""
        return full // 10 if self.is_quick else full

    def home(self, name: str) -> Home:
        if name not in self._homes:
            folder = self.folder / name
            folder.mkdir(exist_ok=True)
            self._homes[name] = Home(name, folder)
        return self._homes[name]

    @cached_property
    def postgres(self) -> str:
        return self._stack.enter_context(running_postgres())

    def versions(self, packages: Iterable[str]) -> dict[str, str]:
        """Those that are installed in the homes that were needed."""
        found: dict[str, str] = {}
        for home in self._homes.values():
            for path in home.folder.glob(".venv/lib/python*/site-packages/*.dist-info"):
                name, version = path.stem.split("-")[:2]
                # Peers may hold another one back.
                found.setdefault(name.replace("_", "-"), version)
        return {name: found[name] for name in packages if name in found}

    def empty(self) -> None:
        self.redis.client.flushall()

    @contextmanager
    def worker(self, candidate: Candidate) -> Iterator[Worker]:
        home = self.home(candidate.home)
        with running_worker(
            [str(home.python), *candidate.worker],
            candidate.copies,
            self.folder,
            self.redis,
            home.folder,
            self._environment(candidate),
        ) as worker:
            yield worker

    @contextmanager
    def driver(self, candidate: Candidate) -> Iterator[Driver]:
        home, log = self.home(candidate.home), self.folder / "driver.log"
        with (
            log.open("wb") as errors,
            subprocess.Popen(
                [home.python, SUBJECTS / "driver.py", candidate.subject],
                bufsize=0,
                cwd=home.folder,
                env=self._environment(candidate),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            ) as process,
        ):
            try:
                yield Driver(process, log)
            finally:
                process.kill()

    def _environment(self, candidate: Candidate) -> dict[str, str]:
        found = {
            **PASSED_ON,
            "PYTHONPATH": str(SUBJECTS),
            "BENCHMARK_REDIS": self.redis.url,
            "CELERY_BROKER_URL": f"{self.redis.url}/0",
        }
        if candidate.home == "prefork-postgres":
            found["CELERY_RESULT_BACKEND"] = f"db+postgresql+psycopg://{self.postgres}"
        return found | dict(candidate.settings)


@contextmanager
def opened_arena(folder: Path, quick: bool) -> Iterator[Arena]:
    with ExitStack() as stack:
        redis = stack.enter_context(running_redis(folder))
        yield Arena(folder, redis, stack, quick)
