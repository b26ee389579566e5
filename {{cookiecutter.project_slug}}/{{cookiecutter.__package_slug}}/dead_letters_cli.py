"""The command `dead-letters`: look at what failed for good, and have it run again or forget it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from .dead_letters import DeadLetter

app = typer.Typer(no_args_is_help=True)

Ids = Annotated[list[str] | None, typer.Argument(help="As `list` shows them.")]
Task = Annotated[str | None, typer.Option(help="Only those of this task.")]
Queue = Annotated[str | None, typer.Option(help="Only those that came from this queue.")]
Reason = Annotated[str | None, typer.Option(help="Only those with this reason.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.callback()
def commands() -> None:
    """Look at what failed for good, and have it run again or forget it."""


@app.command("list")
def show_all(
    task: Task = None, queue: Queue = None, reason: Reason = None, as_json: Json = False
) -> None:
    """List what is there, the oldest first."""
    with _chosen(task=task, queue=queue, reason=reason) as letters:
        found = [letter.about for letter in letters]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif not found:
        typer.echo("There are none.")
    for about in [] if as_json else found:
        typer.echo("  ".join(str(about.get(name)) for name in ("at", "id", "queue", "task")))
        typer.echo(f"    {about.get('reason')}: {about.get('error')}")


@app.command()
def show(id: Annotated[str, typer.Argument(help="As `list` shows it.")]) -> None:
    """Show all that is known of one, as JSON."""
    with _chosen([id]) as letters:
        known = [
            {**letter.about, "content": letter.content, "headers": letter.message.headers}
            for letter in letters
        ]
    typer.echo(json.dumps(known[0], indent=2, default=str))


@app.command()
def requeue(
    ids: Ids = None,
    task: Task = None,
    queue: Queue = None,
    reason: Reason = None,
    everything: Annotated[bool, typer.Option("--all", help="Whatever is there.")] = False,
) -> None:
    """Put some back into the queues from which they came, with their ids, to run again."""
    from celery.exceptions import QueueNotFound

    from . import dead_letters
    from .celery import app as celery

    if not (ids or task or queue or reason or everything):
        raise SystemExit("Which? Name ids or a filter, or say --all.")
    with _chosen(ids, task, queue, reason) as letters:
        for letter in letters:
            try:
                dead_letters.requeue(celery, letter)
            except QueueNotFound as missing:
                raise SystemExit(f"{letter.about['id']} cannot go back: {missing}") from None
            typer.echo(f"requeued {letter.about['id']}")
    if not letters:
        typer.echo("There are none.")


@app.command()
def purge(
    task: Task = None,
    queue: Queue = None,
    reason: Reason = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Forget them, for ever."""
    from . import dead_letters
    from .celery import app as celery

    with _chosen(task=task, queue=queue, reason=reason) as letters:
        if letters and not yes:
            typer.confirm(f"Forget {len(letters)}?", abort=True)
        for letter in letters:
            dead_letters.forget(celery, letter)
    typer.echo(f"forgot {len(letters)}" if letters else "There are none.")


@contextmanager
def _chosen(
    ids: list[str] | None = None,
    task: str | None = None,
    queue: str | None = None,
    reason: str | None = None,
) -> Iterator[list["DeadLetter"]]:
    from kombu.exceptions import OperationalError

    from . import dead_letters
    from .celery import app as celery
    from .cli import broker_is_away

    # With them comes what listens to the signals of dead letters.
    celery.loader.import_default_modules()
    with celery.connection_for_write() as broker:
        try:
            # Without a limit Celery would try again for a long time.
            broker.ensure_connection(max_retries=1, interval_start=0)
        except OperationalError as error:
            raise broker_is_away(celery, error) from None
    wanted = {"task": task, "queue": queue, "reason": reason}
    with dead_letters.opened(celery) as letters:
        if missing := set(ids or ()) - {letter.about["id"] for letter in letters}:
            raise SystemExit(f"There is no dead letter {', '.join(sorted(missing))}.")
        yield [
            letter
            for letter in letters
            if (not ids or letter.about["id"] in ids)
            and all(value in (None, letter.about.get(name)) for name, value in wanted.items())
        ]
