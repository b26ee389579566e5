"""The command line: start the service, submit jobs and watch them."""

import inspect
#{% if cookiecutter.__result_backend != "none" %}
import json
import time
#{% endif %}
from typing import Annotated, Any

import typer

#{% if cookiecutter.include_sqlalchemy %}
from . import dead_letters_cli, outbox_cli
#{% endif %}
#{% if not cookiecutter.include_sqlalchemy %}
from . import dead_letters_cli
#{% endif %}
from .arguments import keywords

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(dead_letters_cli.app, name="dead-letters")
#{% if cookiecutter.include_sqlalchemy %}
app.add_typer(outbox_cli.app, name="outbox")
#{% endif %}

#{% if cookiecutter.__result_backend != "none" %}
# Seconds between two looks at a task that is being watched.
LOOK_EVERY = 0.1

#{% endif %}

@app.callback()
def commands() -> None:
    """Run the service on this machine, and give it work."""


@app.command()
def dev() -> None:
    """Start everything on this machine: broker, worker, beat and the rest. Ctrl-C stops it."""
    try:
        from . import dev as development
    except ModuleNotFoundError as missing:
        raise SystemExit(
            f"`dev` needs {missing.name}, which this environment was installed without. "
            "In a checkout `uv run` installs it; in production start worker and beat instead."
        ) from None
    development.run()


#{% if cookiecutter.include_api %}
@app.command()
def api() -> None:
    """Serve the HTTP API and its page, at API_HOST and API_PORT."""
    from .api.server import serve

    serve()


#{% endif %}
@app.command()
def submit(
    task: Annotated[str, typer.Argument(help="Name of the task, such as hello.greet.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="name=value; lists and the like as JSON.")
    ] = None,
    #{% if cookiecutter.__result_backend != "none" %}
    wait: Annotated[bool, typer.Option(help="Watch the task and print its result.")] = True,
    #{% endif %}
) -> None:
    #{% if cookiecutter.__result_backend != "none" %}
    """Submit a task, show its progress and print its result as JSON."""
    #{% endif %}
    #{% if cookiecutter.__result_backend == "none" %}
    """Submit a task. What becomes of it is in the worker's log."""
    #{% endif %}
    from kombu.exceptions import OperationalError

    from .celery import app as celery

    celery.loader.import_default_modules()
    if task not in celery.tasks:
        known = sorted(name for name in celery.tasks if not name.startswith("celery."))
        raise SystemExit("\n  ".join([f"There is no task {task!r}. There are:", *known]))
    chosen = celery.tasks[task]
    values = keywords(task, inspect.signature(chosen.run, eval_str=True), arguments or [])
    try:
        result = chosen.apply_async(kwargs=values)
    except OperationalError as error:
        raise broker_is_away(celery, error) from None
    typer.echo(f"submitted {task}, id {result.id}", err=True)
    #{% if cookiecutter.__result_backend != "none" %}
    if wait:
        _watch(result)
    #{% endif %}


def broker_is_away(celery: Any, error: Exception) -> SystemExit:
    """With which a command ends, and says what to do."""
    return SystemExit(
        f"The broker {celery.connection_for_write().as_uri()} does not answer: {error}\n"
        "Start one with `dev`, or set CELERY_BROKER_URL to one that runs."
    )
#{% if cookiecutter.__result_backend != "none" %}


def _watch(result: Any) -> None:
    from celery.states import READY_STATES
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task("waits", total=None)
        while True:
            # One look for both: the task may end between two.
            meta = result.backend.get_task_meta(result.id)
            state, info = meta["status"], meta["result"]
            if state in READY_STATES:
                break
            if state == "PROGRESS":
                bars.update(bar, total=info["total"], completed=info["done"])
                bars.update(bar, description=info["note"] or "runs")
            elif state == "RETRY":
                bars.update(bar, description=f"waits to try again after {info!r}")
            time.sleep(LOOK_EVERY)
    if state != "SUCCESS":
        raise SystemExit(f"{state.lower()}: {info!r}")
    typer.echo(json.dumps(info, indent=2, ensure_ascii=False))
#{% endif %}
