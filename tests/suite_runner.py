"""Runs test suites of rendered projects in forks of one process that has imported the libraries.

Reads a line of JSON for each suite, {"folder": ..., "arguments": [...]}, and answers with one:
{"status": ..., "passed": ..., "failed": ..., "skipped": ..., "output": ...}. Its only argument is
the folder that holds all it may import beside the standard library.
"""

import gc
import importlib
import json
import os
import sys
import tempfile
from collections import Counter
from typing import Any

# Taken from the forks' time. What an environment does not hold is left out.
LIBRARIES = (
    "aiocache",
    "aiosmtpd.controller",
    "alembic.autogenerate",
    "celery.contrib.testing.worker",
    "celery.concurrency.thread",
    "httpx2",
    "polars",
    "pydantic_settings",
    "pytest",
    "redis",
    "rich.progress",
    "sqlalchemy.ext.asyncio",
    "structlog",
    "typer",
)


class Count:
    """A pytest plugin that counts outcomes."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.outcome] += 1

    def pytest_collectreport(self, report: Any) -> None:
        if report.outcome != "passed":
            self.outcomes[report.outcome] += 1


def run(folder: str, arguments: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as output:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.setsid()
            for stream in (1, 2):
                os.dup2(output.fileno(), stream)
            os.write(writer, json.dumps(_run_here(folder, arguments)).encode())
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as pipe:
            report = pipe.read()
        os.waitpid(child, 0)
        output.seek(0)
        printed = output.read().decode(errors="replace")
    outcome = json.loads(report) if report else {"status": "the process died"}
    return outcome | {"output": printed[-20_000:]}


def _run_here(folder: str, arguments: list[str]) -> dict[str, Any]:
    import pytest

    os.chdir(folder)
    sys.path.insert(0, folder)
    # Tests that start Python must find the same packages, and nothing else either.
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])
    count = Count()
    status = pytest.main(["-p", "no:cacheprovider", *arguments], plugins=[count])
    sys.stdout.flush()
    outcomes = {name: count.outcomes[name] for name in ("passed", "failed", "skipped")}
    return {"status": int(status), **outcomes}


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    sys.dont_write_bytecode = True
    for library in LIBRARIES:
        try:
            importlib.import_module(library)
        except ModuleNotFoundError as missing:
            if missing.name != library.partition(".")[0]:
                raise
    # Forks share what the collector does not touch.
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
