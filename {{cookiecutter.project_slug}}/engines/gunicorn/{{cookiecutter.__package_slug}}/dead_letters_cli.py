"""The command `dead-letters`: look at what failed for good, and have it run again or forget it."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

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
    found = _chosen(task=task, queue=queue, reason=reason)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    elif not found:
        typer.echo("There are none.")
    for about in [] if as_json else found:
        typer.echo("  ".join(str(about[name]) for name in ("at", "id", "queue", "task")))
        typer.echo(f"    {about['reason']}: {about['error']}")


@app.command()
def show(id: Annotated[str, typer.Argument(help="As `list` shows it.")]) -> None:
    """Show all that is known of one, as JSON."""
    typer.echo(json.dumps(_chosen([id])[0], indent=2))


@app.command()
def requeue(
    ids: Ids = None,
    task: Task = None,
    queue: Queue = None,
    reason: Reason = None,
    everything: Annotated[bool, typer.Option("--all", help="Whatever is there.")] = False,
) -> None:
    """Put some back into the queues from which they came, with their ids, to run again."""
    from .dirty.jobs import board

    if not (ids or task or queue or reason or everything):
        raise SystemExit("Which? Name ids or a filter, or say --all.")
    found = _chosen(ids, task, queue, reason)
    for about in found:
        board().requeue(about["id"])
        typer.echo(f"requeued {about['id']}")
    if not found:
        typer.echo("There are none.")


@app.command()
def purge(
    task: Task = None,
    queue: Queue = None,
    reason: Reason = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Forget them, for ever."""
    from .dirty.jobs import board

    found = _chosen(task=task, queue=queue, reason=reason)
    if found and not yes:
        typer.confirm(f"Forget {len(found)}?", abort=True)
    for about in found:
        board().forget(about["id"])
    typer.echo(f"forgot {len(found)}" if found else "There are none.")


def _chosen(
    ids: list[str] | None = None,
    task: str | None = None,
    queue: str | None = None,
    reason: str | None = None,
) -> list[dict[str, Any]]:
    from .dirty.jobs import board

    letters = [_about(row) for row in board().dead()]
    if missing := set(ids or ()) - {about["id"] for about in letters}:
        raise SystemExit(f"There is no dead letter {', '.join(sorted(missing))}.")
    wanted = {"task": task, "queue": queue, "reason": reason}
    return [
        about
        for about in letters
        if (not ids or about["id"] in ids)
        and all(value in (None, about[name]) for name, value in wanted.items())
    ]


def _about(row: Any) -> dict[str, Any]:
    failure = json.loads(row["result"])
    return {
        "id": row["id"],
        "task": row["task"],
        "queue": row["queue"],
        "reason": failure["exc_type"],
        "error": ", ".join(failure["exc_message"]),
        "at": datetime.fromtimestamp(row["ended_at"], UTC).isoformat(timespec="seconds"),
        "retries": row["retries"],
        "deliveries": row["deliveries"],
        "requeued": row["requeued"],
        "arguments": json.loads(row["arguments"]),
    }
