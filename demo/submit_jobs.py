"""Runs in a rendered project: makes real input, submits the example jobs, shows them at work."""

import csv
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

# The project is called what its folder is called.
PACKAGE = Path.cwd().name.replace("-", "_")
DATA = Path("data")
ORDERS = 100_000
PICTURES = 40
RECIPIENTS = 300
TIMEOUT = 300

celery: Any = import_module(f"{PACKAGE}.celery").app
console = Console()


@dataclass
class Job:
    """A submitted task and what was seen of it."""

    label: str
    task: str
    arguments: dict[str, Any]
    expected: str = "SUCCESS"
    result: Any = None
    started: float = 0.0
    seconds: float | None = None
    retries: set[str] = field(default_factory=set)

    def submit(self) -> None:
        self.started = time.monotonic()
        self.result = celery.send_task(self.task, kwargs=self.arguments)

    def look(self) -> tuple[str, Any]:
        meta = self.result.backend.get_task_meta(self.result.id)
        state, info = meta["status"], meta["result"]
        if state == "RETRY":
            self.retries.add(repr(info))
        if state in ("SUCCESS", "FAILURE") and self.seconds is None:
            self.seconds = time.monotonic() - self.started
        return state, info


class SlowToWakeServer(ThreadingHTTPServer):
    """Has files, but says at first that it is not available."""

    asked = 0


class Files(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, SlowToWakeServer)
        self.server.asked += 1
        if self.server.asked == 1:
            self.send_error(503)
        else:
            super().do_GET()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing between the progress bars."""


@contextmanager
def file_server(folder: Path) -> Iterator[str]:
    with SlowToWakeServer(("127.0.0.1", 0), partial(Files, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def make_pictures(folder: Path) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(PICTURES):
        hue = number * 255 // PICTURES
        image = Image.radial_gradient("L").resize((1600, 1200))
        Image.merge("HSV", (Image.new("L", image.size, hue), image, image)).convert("RGB").save(
            folder / f"{number:02}.jpg"
        )
    (folder / "broken.jpg").write_text("This is not a picture.")
    return sorted(str(path.relative_to(DATA)) for path in folder.glob("[0-9]*.jpg"))


def make_orders(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    chance = random.Random(0)
    first_day = date(2026, 1, 1)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["reference", "customer", "day", "cents"])
        for number in range(ORDERS):
            day = first_day + timedelta(days=chance.randrange(300))
            cents = chance.randrange(500, 20_000) + 3_000 * (day.weekday() == 5)
            customer = f"customer{chance.randrange(5_000)}@example.com"
            rows.writerow([f"A{number:06}", customer, day, cents])


def watch(jobs: list[Job]) -> None:
    """Submit the jobs and draw a bar for each until all have ended."""
    columns = (
        TextColumn("{task.description:<34}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[state]}"),
    )
    deadline = time.monotonic() + TIMEOUT
    with Progress(*columns, console=console) as bars:
        for job in jobs:
            job.submit()
        bar_of = {job.label: bars.add_task(job.label, total=1, state="waits") for job in jobs}
        left = list(jobs)
        while left:
            if time.monotonic() > deadline:
                sys.exit(f"Not done after {TIMEOUT} s: {', '.join(job.label for job in left)}")
            for job in list(left):
                state, info = job.look()
                bar = bar_of[job.label]
                if state == "PROGRESS":
                    done, total, note = info["done"], info["total"], info["note"]
                    bars.update(bar, completed=done, total=total, state=note)
                elif state == "RETRY":
                    bars.update(bar, state="waits to try again")
                elif job.seconds is not None:
                    task = next(task for task in bars.tasks if task.id == bar)
                    bars.update(bar, completed=task.total, state=state.lower())
                    bars.stop_task(bar)
                    left.remove(job)
            time.sleep(0.02)


def report(jobs: list[Job]) -> bool:
    """Print what became of each job; whether it is what was expected."""
    console.print("\nWhat became of them:")
    for job in jobs:
        state, info = job.look()
        ended = state.lower() + (" after a retry" if job.retries else "")
        console.print(f"  [bold]{job.label:<34}[/] {job.seconds:>6.2f} s  {ended}")
        shown = Text(f"    {job.task}: {info!r}", style="dim")
        console.print(shown, no_wrap=True, overflow="ellipsis")
    return all(job.look()[0] == job.expected for job in jobs)


def main() -> None:
    with console.status("making the input: pictures and orders"):
        pictures = make_pictures(DATA / "photos")
        make_orders(DATA / "outside" / "orders.csv")
    message = {"subject": "Good news", "body": "The demonstration works."}
    many = [f"customer{number}@example.com" for number in range(RECIPIENTS)]
    with file_server(DATA / "outside") as url:
        first = [
            Job("e-mail to one", "email.send", {"to": "ada@example.com", **message}),
            Job(f"e-mail to {RECIPIENTS}", "email.send_bulk", {"recipients": many, **message}),
            Job(f"thumbnails of {PICTURES} pictures", "images.thumbnails", {"sources": pictures}),
            Job("download, server away at first", "reports.sync", {"url": f"{url}/orders.csv"}),
            Job(
                "a file that is no picture",
                "images.thumbnail",
                {"source": "photos/broken.jpg"},
                expected="FAILURE",
            ),
        ]
        watch(first)
    second = [Job(f"load {ORDERS:,} orders", "etl.run", {"source": "incoming/orders.csv"})]
    watch(second)
    staged = "staging/incoming/orders.csv.clean.parquet"
    third = [
        Job("orders into the database", "order_import.run", {"staged": staged}),
        Job("train a model on them", "training.fit", {"epochs": 20}),
        Job("report on a day", "reports.daily", {"day": "2026-03-01"}),
    ]
    watch(third)
    jobs = first + second + third
    is_as_expected = report(jobs)
    retried = any(job.retries for job in jobs)
    sys.exit(0 if is_as_expected and retried else 1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
