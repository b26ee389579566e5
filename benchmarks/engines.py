"""What the engines cost: `uv run python benchmarks/engines.py`, on a machine that is idle."""

import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

TEMPLATE = Path(__file__).parent.parent
# What both engines start for this job when there are no others.
PROCESSES = 4
ROUNDS = 7
TRIPS = 200
JOBS = 2_000
# Seconds that nothing here takes.
TIMEOUT = 300
# Title, figure, and which of a hundred parts of its values lies below what is printed.
ROWS = [
    ("round trip by HTTP, median, ms", "http", 50),
    ("round trip by HTTP, p99, ms", "http", 99),
    ("round trip in Python, median, ms", "python", 50),
    ("round trip in Python, p99, ms", "python", 99),
    ("jobs drained, 1/s", "rate", 50),
    ("CPU of a job by HTTP, ms", "cpu_http", 50),
    ("CPU of a job in Python, ms", "cpu_python", 50),
]
RATIOS = {
    "gunicorn : celery": ("gunicorn", "celery"),
    "gunicorn : pool": ("gunicorn", "pool"),
    "celery : pool": ("celery", "pool"),
}


@dataclass(frozen=True)
class Engine:
    """What its callers have of it."""

    submit: Callable[[], Any]
    result: Callable[[Any], Any]
    client: Any = None


def get(sent: Any) -> Any:
    return sent.get(timeout=TIMEOUT)


@contextmanager
def celery(folder: Path) -> Iterator[Engine]:
    live_service, live_api = import_module("live_service"), import_module("live_api")
    with (
        live_service.running_service(folder, WORKER_CONCURRENCY=str(PROCESSES)) as service,
        service.worker(),
        live_api.running_api(service, API_RATE_LIMIT="100000/second") as api,
    ):
        yield Engine(lambda: service.send("hello.greet", "Ada"), get, api.client)


@contextmanager
def gunicorn(folder: Path) -> Iterator[Engine]:
    # The package reads its settings when it is imported.
    os.environ["JOBS_DIR"] = str(folder / "jobs")
    greet = import_module("order_jobs.tasks.hello").greet
    assert import_module("order_jobs.queues").PROCESSES == {"default": PROCESSES}
    with import_module("live_service").running(folder, API_PROCESSES="1") as live:
        yield Engine(lambda: greet.delay("Ada"), get, live.client)


@contextmanager
def pool(_: Path) -> Iterator[Engine]:
    greet = import_module("order_jobs.jobs.hello").greet
    with ProcessPoolExecutor(PROCESSES) as executor:
        yield Engine(lambda: executor.submit(greet, "Ada"), lambda sent: sent.result(TIMEOUT))


CONTENDERS = {"celery": celery, "gunicorn": gunicorn, "pool": pool}


def cpu() -> tuple[float, float]:
    """Milliseconds of all processes that this one started, and with its own."""
    found: dict[int, tuple[int, int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        # One that ends meanwhile counts with its parent.
        with suppress(OSError):
            values = path.read_text().rpartition(")")[2].split()
            found[int(path.parent.name)] = int(values[1]), sum(map(int, values[11:15]))
    family = [os.getpid()]
    for each in family:
        family += [pid for pid, (parent, _) in found.items() if parent == each]
    own, *others = [found[pid][1] * 1000 / os.sysconf("SC_CLK_TCK") for pid in family]
    return sum(others), own + sum(others)


def trips(call: Callable[[], object]) -> list[float]:
    """Milliseconds of each."""
    times = [time.perf_counter()]
    for _ in range(TRIPS):
        call()
        times.append(time.perf_counter())
    return [(end - begin) * 1000 for begin, end in pairwise(times)]


def post(client: Any) -> None:
    answer = client.post("/api/hello/greet?wait=10", json={"name": "Ada"})
    assert answer.json()["result"] == "Hello, Ada!", answer.text


def measure(engine: Engine) -> Iterator[tuple[str, list[float]]]:
    """One round."""
    if engine.client:
        before = cpu()
        yield "http", trips(lambda: post(engine.client))
        yield "cpu_http", [(cpu()[0] - before[0]) / TRIPS]
    yield "python", trips(lambda: engine.result(engine.submit()))
    # With the caller's own: it does the pool's queueing, and part of that of the others.
    before, began = cpu(), time.perf_counter()
    for sent in [engine.submit() for _ in range(JOBS)]:
        engine.result(sent)
    yield "rate", [JOBS / (time.perf_counter() - began)]
    yield "cpu_python", [(cpu()[1] - before[1]) / JOBS]


def contend(name: str) -> None:
    """In a rendered project: a round for each line that is read."""
    with os.fdopen(os.dup(1), "w") as answers, tempfile.TemporaryDirectory() as folder:
        # What the service prints is no answer.
        os.dup2(2, 1)
        with CONTENDERS[name](Path(folder)) as engine:
            for _ in sys.stdin:
                print(json.dumps(dict(measure(engine))), file=answers, flush=True)


@contextmanager
def asked(name: str, project: Path) -> Iterator[Callable[[], dict[str, list[float]]]]:
    """What has it run a round."""
    log = project / f"{name}.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [project / ".venv/bin/python", __file__, name],
            bufsize=0,
            cwd=project,
            env=os.environ | {"PYTHONPATH": f"{project}/tests"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdin
    assert process.stdout
    asks, answers = process.stdin, process.stdout

    def ask() -> dict[str, list[float]]:
        asks.write(b"\n")
        line = answers.readline() if select.select([answers], [], [], TIMEOUT)[0] else b""
        if not line:
            raise SystemExit(f"{name} does not answer:\n{log.read_text()[-3000:]}")
        return dict(json.loads(line))

    try:
        yield ask
    finally:
        # With nothing more to read it stops its service.
        asks.close()
        try:
            process.wait(TIMEOUT)
        finally:
            process.kill()


def rendered(engine: str, folder: str) -> Path:
    # Rendered projects, in which the rest of this file is used, do not have it.
    from cookiecutter.main import cookiecutter

    answers = {"task_engine": engine, "include_examples": False}
    place = f"{folder}/{engine}"
    project = cookiecutter(str(TEMPLATE), no_input=True, output_dir=place, extra_context=answers)
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    subprocess.run(["uv", "sync", "--quiet"], cwd=project, env=environment, check=True)
    return Path(project)


def main() -> None:
    figures: dict[tuple[str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        projects = {engine: rendered(engine, folder) for engine in ("celery", "gunicorn")}
        projects["pool"] = projects["gunicorn"]
        asks = {name: stack.enter_context(asked(name, path)) for name, path in projects.items()}
        for number in range(-1, ROUNDS):
            for name, ask in asks.items():
                for figure, values in ask().items():
                    # The first round is there for whatever is done only once.
                    figures[name, figure] += values if number >= 0 else []
    print(f"{'':34}" + "".join(f"{title:>19}" for title in [*CONTENDERS, *RATIOS]))
    for title, figure, part in ROWS:
        there = {name: figures[name, figure] for name in CONTENDERS if figures[name, figure]}
        of = {name: statistics.quantiles(values, n=100)[part - 1] for name, values in there.items()}
        cells = [of.get(name) for name in CONTENDERS]
        cells += [of[a] / of[b] if {a, b} <= of.keys() else None for a, b in RATIOS.values()]
        print(f"{title:34}" + "".join(f"{cell:19.2f}" if cell else f"{'':19}" for cell in cells))


if __name__ == "__main__":
    contend(sys.argv[1]) if len(sys.argv) > 1 else main()
