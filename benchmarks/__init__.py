"""`uv run benchmark`: measure what jobs cost here and elsewhere, and write docs/performance.md."""

import argparse
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from .arena import Arena, opened_arena, python
from .draining import COMPUTING, DRAIN, PREFETCH, RUN_ASYNC, WAITING, WORKERS
from .holding import BACKLOG, DELAYED, LONG, MEMORY, START
from .rendering import TEMPLATE_TIMES
from .sending import ENQUEUE, LATENCY
from .tables import Figures, Measurement, read, table, write
from .watching import WATCHING

MEASUREMENTS = [
    DRAIN,
    PREFETCH,
    WAITING,
    COMPUTING,
    ENQUEUE,
    LATENCY,
    MEMORY,
    START,
    BACKLOG,
    LONG,
    WORKERS,
    DELAYED,
    WATCHING,
    TEMPLATE_TIMES,
    RUN_ASYNC,
]
VERSIONS = ("celery", "kombu", "redis", "dramatiq", "taskiq", "taskiq-redis", "arq", "huey", "rq")

console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmark", description=__doc__)
    names = [each.name for each in MEASUREMENTS]
    parser.add_argument("--rounds", type=int, default=3, help="of which medians are shown (3)")
    help = "only this measurement; may be given several times"
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=help)
    parser.add_argument("--quick", action="store_true", help="a tenth of the jobs, to try it")
    parser.add_argument("--only-show", action="store_true", help="write neither figures nor page")
    options = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("What processes take is read from /proc, which only Linux has.")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt_once)
    try:
        problems = _run(options)
    except KeyboardInterrupt:
        sys.exit(130)
    if problems:
        sys.exit("\n\n".join([f"{len(problems)} measurements failed:", *problems]))


def _interrupt_once(*_: object) -> None:
    # The terminal and `uv run` both pass Ctrl-C on; the second must not interrupt the cleaning up.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _run(options: argparse.Namespace) -> list[str]:
    problems: list[str] = []
    # Beside what another run has measured.
    figures = read()
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        opened_arena(Path(folder), options.quick) as arena,
    ):
        for measurement in MEASUREMENTS:
            if options.only and measurement.name not in options.only:
                continue
            console.print(f"[bold]{measurement.name}[/]")
            found = measured(measurement, arena, options.rounds, problems)
            console.print(table(found), markup=False)
            figures["measured"][measurement.name] = found
            if not options.only_show:
                figures["machine"] = _machine(arena, figures.get("machine", {}))
                write(figures)
    return problems


def measured(measurement: Measurement, arena: Arena, rounds: int, problems: list[str]) -> Figures:
    found: list[dict[str, list[float]]] = [{} for _ in measurement.rows]
    failed: set[int] = set()
    for number in range(rounds):
        # Each is the first one once: what comes later may find a machine that is warmer, or slower.
        turns = range(len(measurement.rows))
        first = number * len(turns) // rounds
        for index in [*turns[first:], *turns[:first]]:
            row = measurement.rows[index]
            if index in failed:
                continue
            began = time.monotonic()
            try:
                figures = row.measure(arena)
            except Exception as error:
                failed.add(index)
                found[index].clear()
                problems.append(f"{measurement.name}, {row.name}: {type(error).__name__}: {error}")
                console.print(f"  {row.name}: failed", markup=False)
                continue
            for name, value in figures.items():
                found[index].setdefault(name, []).append(value)
            seconds = time.monotonic() - began
            console.print(f"  round {number + 1}, {row.name}: {seconds:.1f} s", markup=False)
    return {
        "title": measurement.title,
        "note": measurement.note,
        "columns": dict(measurement.columns),
        "compared": dict(measurement.compared),
        "rounds": rounds,
        "quick": arena.is_quick,
        "rows": [
            {"name": row.name, "note": row.note, "figures": figures}
            for row, figures in zip(measurement.rows, found, strict=True)
        ],
    }


def _machine(arena: Arena, before: Mapping[str, Any]) -> dict[str, Any]:
    processor = re.search("model name\\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor[1] if processor else platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "versions": {
            # Of those that this run did not need.
            **before.get("versions", {}),
            "Python": subprocess.check_output([python(), "-V"], text=True).split()[1],
            arena.redis.name: arena.redis.version,
            **arena.versions(VERSIONS),
        },
    }
