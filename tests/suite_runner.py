"""Runs test suites of rendered projects in forks of one process that has imported the libraries.

Reads a line of JSON for each suite, {"folder": ..., "arguments": [...], "environment": {...},
"modules": [...]}, and answers with one: {"status": ..., "passed": ..., "failed": ...,
"skipped": ..., "output": ..., "modules": [...]}. Its only argument is the folder that holds all it
may import beside the standard library.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable
from typing import Any

# Seconds after which a suite is killed. The one with all options and real processes takes minutes
# of a core, which it shares with others.
LONGEST = 1200


class Count:
    """A pytest plugin that counts outcomes."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.outcome] += 1
        if report.failed:
            # Pytest tells at the end, which a suite that hangs does not reach.
            print(f"\n{report.nodeid} failed in its {report.when}:")
            print(report.longreprtext[-3000:], flush=True)

    def pytest_collectreport(self, report: Any) -> None:
        if report.outcome != "passed":
            self.outcomes[report.outcome] += 1


def run(
    folder: str, arguments: list[str], environment: dict[str, str], modules: Iterable[str]
) -> dict[str, Any]:
    preload(modules)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as report:
        child = os.fork()
        if child == 0:
            os.setsid()
            os.environ |= environment
            for stream in (1, 2):
                os.dup2(output.fileno(), stream)
            os.write(report.fileno(), json.dumps(_run_here(folder, arguments)).encode())
            os._exit(0)
        killer = threading.Timer(LONGEST, os.kill, (child, signal.SIGKILL))
        killer.start()
        os.waitpid(child, 0)
        killer.cancel()
        # Processes that the suite left behind would use the folder of the next.
        with contextlib.suppress(OSError):
            os.killpg(child, signal.SIGKILL)
        report.seek(0)
        died = json.dumps({"status": f"none: it died, or was killed after {LONGEST} seconds"})
        outcome: dict[str, Any] = json.loads(report.read() or died)
        output.seek(0)
        return outcome | {"output": output.read().decode(errors="replace")[-20_000:]}


def preload(modules: Iterable[str]) -> None:
    """Take imports from the forks' time. What this environment does not hold is left out."""
    absent: set[str | None] = set()
    # The collector would look through all that is imported, again and again, and find nothing.
    gc.disable()
    for name in modules:
        if name.partition(".")[0] not in absent:
            try:
                importlib.import_module(name)
            except Exception as problem:
                absent.add(getattr(problem, "name", None))
    # Forks share what the collector does not touch.
    gc.freeze()
    gc.enable()


def _run_here(folder: str, arguments: list[str]) -> dict[str, Any]:
    known = set(sys.modules)
    import pytest

    os.chdir(folder)
    sys.path.insert(0, folder)
    # Tests that start Python must find the same packages, and nothing else either.
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path[:2])
    count = Count()
    status = pytest.main(["-p", "no:cacheprovider", *arguments], plugins=[count])
    sys.stdout.flush()
    outcomes = {name: count.outcomes[name] for name in ("passed", "failed", "skipped")}
    modules = [name for name in list(sys.modules) if name not in known and _is_library(name)]
    return {"status": int(status), **outcomes, "modules": modules}


def _is_library(name: str) -> bool:
    """Whether a module is the same in every suite: not the project's, nor rewritten by pytest."""
    specification = getattr(sys.modules[name], "__spec__", None)
    origin = str(getattr(specification, "origin", None))
    rewritten = type(getattr(specification, "loader", None)).__module__.startswith("_pytest.")
    return not rewritten and origin.startswith((sys.base_prefix, sys.argv[1], "built-in", "frozen"))


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    for line in sys.stdin:
        print(json.dumps(run(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
