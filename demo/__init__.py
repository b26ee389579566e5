"""`uv run demo`: render the defaults, run them, give them real work, and clean up."""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cookiecutter.main import cookiecutter
from rich.console import Console

TEMPLATE = Path(__file__).parent.parent
SUBMIT = Path(__file__).with_name("submit_jobs.py")
# What `dev` prints once the worker takes jobs.
READY = "ready. In another terminal"
# Seconds. The first start may download a hundred megabytes of libraries.
START_TIMEOUT = 600
STOP_TIMEOUT = 40

console = Console(highlight=False)


def main() -> None:
    """Run the demonstration; its exit status is that of the jobs."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument(
        "--keep", metavar="FOLDER", type=Path, help="render into this folder and leave it there"
    )
    keep = parser.parse_args().keep
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt_once)
    try:
        status = _run(keep)
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


def _interrupt_once(*_: object) -> None:
    # The terminal and `uv run` both pass Ctrl-C on; the second must not interrupt the cleaning up.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _run(keep: Path | None) -> int:
    with ExitStack() as stack:
        folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="demo-")))
        console.print(f"[bold]1. Render the defaults[/] into {folder}")
        project = _render(folder)
        console.print("[bold]2. Install and start them[/] with `dev`: broker, worker, beat, API")
        log = stack.enter_context(_running(project))
        console.print("[bold]3. Submit the example jobs[/] and watch them\n")
        jobs = subprocess.run(
            [project / ".venv/bin/python", SUBMIT], cwd=project, env=_outside(project)
        )
        status = jobs.returncode
        if status:
            console.print("\n[red]The jobs did not end as they should.[/] The service said:")
            console.print(log.read_text(), markup=False)
        console.print("\n[bold]4. Stop everything[/]")
    console.print(_what_next(project if keep else None))
    return status


def _render(folder: Path) -> Path:
    started = time.monotonic()
    project = Path(cookiecutter(str(TEMPLATE), no_input=True, output_dir=str(folder)))
    console.print(f"   done in {time.monotonic() - started:.1f} s")
    return project


def _outside(project: Path) -> dict[str, str]:
    """The environment without what would lead the project to a real broker or mail server."""
    settings = re.findall("^#([A-Z_]+)=", (project / ".env.example").read_text(), re.MULTILINE)
    # The project has a virtual environment of its own, whatever runs this one.
    hidden = {"VIRTUAL_ENV", *settings}
    return {name: value for name, value in os.environ.items() if name not in hidden}


@contextmanager
def _running(project: Path) -> Iterator[Path]:
    """The rendered service, until the end of the block; yields the file of what it prints."""
    outside = _outside(project)
    subprocess.run(
        ["uv", "sync", "--group", "training"],
        cwd=project,
        env=outside,
        check=True,
        timeout=START_TIMEOUT,
    )
    log = project / "dev.log"
    with log.open("w") as output:
        service = subprocess.Popen(
            [project / ".venv/bin" / project.name, "dev"],
            cwd=project,
            env=outside,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches the demonstration alone, which then stops the service in good order.
            start_new_session=True,
        )
        try:
            _wait_until_ready(service, log)
            yield log
        finally:
            service.terminate()
            try:
                service.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                os.killpg(service.pid, signal.SIGKILL)


def _wait_until_ready(service: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    with console.status("starting"):
        while READY not in log.read_text():
            if service.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"The service did not start. It said:\n{log.read_text()}")
            time.sleep(0.05)


def _what_next(kept: Path | None) -> str:
    if kept:
        return f"The project is yours: cd {kept} && uv run {kept.name} dev"
    return (
        "The project went with its temporary folder. To keep one: uv run demo --keep FOLDER\n"
        "To answer the questions yourself: uvx cookiecutter ."
    )
