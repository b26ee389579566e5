"""What it costs to watch a worker: `uv run python benchmarks/observability.py`, when idle."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

TEMPLATE = Path(__file__).parent.parent
ROUNDS = 7
TASKS = 1_000
# Seconds that nothing here takes.
TIMEOUT = 120


class Sink(BaseHTTPRequestHandler):
    """Takes traces, and forgets them."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """A line for each request would cost more than the request."""


def cpu(group: int) -> float:
    """Milliseconds of all processes of this group."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        # One that ends meanwhile counts with its parent.
        with suppress(OSError):
            values = path.read_text().rpartition(")")[2].split()
            if int(values[2]) == group:
                ticks += sum(map(int, values[11:15]))
    return ticks * 1000 / os.sysconf("SC_CLK_TCK")


def scrape(port: str) -> tuple[float, str]:
    """Milliseconds, and the text."""
    began = time.perf_counter()
    connection = HTTPConnection("127.0.0.1", int(port), timeout=TIMEOUT)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return (time.perf_counter() - began) * 1000, text


@contextmanager
def watched(
    folder: Path, options: tuple[str, ...], settings: Mapping[str, str]
) -> Iterator[tuple[Any, int]]:
    """A service whose worker is watched like this, and the group of its processes."""
    folder.mkdir()
    live_service = import_module("live_service")
    with (
        live_service.running_service(folder, **settings, WORKER_CONCURRENCY="2") as service,
        service.worker(*options) as worker,
    ):
        service.value(service.send("hello.greet", "Ada"))
        yield service, worker.pid


def measure() -> None:
    """In a rendered project."""
    free_port = import_module("order_jobs.embedded_broker").free_port
    port = str(free_port())
    figures: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        sink = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Sink))
        Thread(target=sink.serve_forever, daemon=True).start()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        collector = f"http://127.0.0.1:{sink.server_port}"
        ways: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
            "nothing": ((), {}),
            "metrics": ((), {"METRICS_PORT": port}),
            "events": (("--task-events",), {}),
            "traces": ((), {"OTEL_EXPORTER_OTLP_ENDPOINT": collector}),
        }
        services = {
            name: stack.enter_context(watched(folder / name, *how)) for name, how in ways.items()
        }
        for number in range(-1, ROUNDS):
            for name, (service, group) in services.items():
                before = cpu(group)
                for sent in [service.send("hello.greet", "Ada") for _ in range(TASKS)]:
                    service.value(sent)
                # The first round is there for whatever is done only once.
                if number >= 0:
                    figures[name].append((cpu(group) - before) / TASKS)
        times, texts = zip(*[scrape(port) for _ in range(20)], strict=True)
        sink.shutdown()
    nothing = statistics.median(figures["nothing"])
    print(f"{'':10}{'CPU of a task, ms':>20}{'lowest':>10}{'highest':>10}{'ratio':>10}")
    for name, values in figures.items():
        middle = statistics.median(values)
        cells = f"{middle:20.2f}{min(values):10.2f}{max(values):10.2f}{middle / nothing:10.2f}"
        print(f"{name:10}{cells}")
    lines = [line for line in texts[-1].splitlines() if 'name="hello.greet"' in line]
    print(f"a look at /metrics: {statistics.median(times):.1f} ms; {len(lines)} series of a task")
    sys.stdout.flush()


def main() -> None:
    # The rendered project, in which the rest of this file is used, does not have it.
    from cookiecutter.main import cookiecutter

    answers = {"include_examples": False, "include_flower": False, "include_metrics": True}
    with tempfile.TemporaryDirectory() as folder:
        project = cookiecutter(
            str(TEMPLATE), no_input=True, output_dir=folder, extra_context=answers
        )
        outside = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        sync = ["uv", "sync", "--quiet", "--group", "otel"]
        subprocess.run(sync, cwd=project, env=outside, check=True)
        subprocess.run(
            [f"{project}/.venv/bin/python", __file__, "measure"],
            cwd=project,
            env=outside | {"PYTHONPATH": f"{project}/tests"},
            stderr=subprocess.DEVNULL,
            check=True,
        )


if __name__ == "__main__":
    measure() if len(sys.argv) > 1 else main()
