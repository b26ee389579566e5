"""The command line: start the service, submit jobs and watch them."""

import inspect
import json
import time
from typing import Annotated

import typer

from . import dead_letters_cli
from .arguments import keywords

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(dead_letters_cli.app, name="dead-letters")

# Seconds between two looks at a task that is being watched.
LOOK_EVERY = 0.1


@app.callback()
def commands() -> None:
    """Run the service on this machine, and give it work."""


@app.command()
def dev() -> None:
    """Start everything on this machine, and again whenever the code changes. Ctrl-C stops it."""
    try:
        from . import dev as development
    except ModuleNotFoundError as missing:
        raise SystemExit(
            f"`dev` needs {missing.name}, which this environment was installed without. "
            "In a checkout `uv run` installs it; in production start `gunicorn` instead."
        ) from None
    development.run()


@app.command()
def submit(
    task: Annotated[str, typer.Argument(help="Name of the task, such as hello.greet.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="name=value; lists and the like as JSON.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Watch the task and print its result.")] = True,
) -> None:
    """Submit a task, show its progress and print its result as JSON."""
    from .dirty import jobs
    from .dirty.board import QueueIsFull

    tasks = jobs.tasks()
    if task not in tasks:
        raise SystemExit("\n  ".join([f"There is no task {task!r}. There are:", *sorted(tasks)]))
    signature = inspect.signature(tasks[task].run, eval_str=True)
    values = keywords(task, signature, arguments or [])
    try:
        job_id = jobs.submit(task, values)
    except QueueIsFull as full:
        raise SystemExit(f"{full}, which is as many as MAX_WAITING allows. Try again.") from None
    typer.echo(f"submitted {task}, id {job_id}", err=True)
    if wait:
        _watch(job_id)


def _watch(job_id: str) -> None:
    from rich.console import Console
    from rich.progress import Progress

    from .dirty.board import is_final
    from .dirty.jobs import board

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task("waits", total=None)
        while not is_final(job := board().jobs([job_id])[job_id]):
            if job["state"] == "RETRY":
                bars.update(bar, description=f"waits to try again after {job['result']}")
            elif job["report"]:
                report = json.loads(job["report"])
                bars.update(bar, total=report["total"], completed=report["done"])
                bars.update(bar, description=report["note"] or "runs")
            time.sleep(LOOK_EVERY)
    result = json.loads(job["result"] or "null")
    if job["state"] != "SUCCESS":
        raise SystemExit(f"{job['state'].lower()}: {result}")
    typer.echo(json.dumps(result, indent=2, ensure_ascii=False))
