"""The command `outbox`: send what was accepted, and see what is not done."""

import json
import signal
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from sqlalchemy import Executable

app = typer.Typer(no_args_is_help=True)


@app.callback()
def commands() -> None:
    """Send what was accepted together with rows of the database, and see what is not done."""


@app.command()
def relay() -> None:
    """Send what is accepted, until SIGTERM or Ctrl-C. Any number may run."""
    from . import logs, outbox_relay
    #{% if cookiecutter.include_metrics %}
    from .metrics_server import serve
    #{% endif %}

    logs.configure()
    #{% if cookiecutter.include_metrics %}
    serve()
    #{% endif %}
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        # By a thread, because the relay may hold the event's own lock when the signal comes.
        signal.signal(number, lambda *_: threading.Thread(target=stopping.set).start())
    outbox_relay.keep_sending(stopping)


@app.command("list")
def show_all(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List what was accepted and is not done, the oldest first."""
    from sqlalchemy import select

    from .models import Accepted

    columns = (Accepted.id, Accepted.task, Accepted.accepted_at, Accepted.sent, Accepted.error)
    found = _run(select(*columns).order_by(Accepted.accepted_at))
    if as_json:
        typer.echo(json.dumps([row._asdict() for row in found], indent=2, default=str))
    elif not found:
        typer.echo("Everything is done.")
    for row in [] if as_json else found:
        typer.echo(f"{row.accepted_at:%Y-%m-%dT%H:%M:%S}  {row.id}  {row.task}")
        typer.echo(f"    {row.error or f'sent {row.sent} times'}")


@app.command()
def resend(
    ids: Annotated[list[str] | None, typer.Argument(help="As `list` shows them.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Whatever is not done.")] = False,
) -> None:
    """Have some sent at once, for example when the broker has lost its data."""
    from datetime import UTC, datetime

    from sqlalchemy import update

    from .models import Accepted

    if not (ids or everything):
        raise SystemExit("Which? Name ids, or say --all.")
    again = update(Accepted).values(send_at=datetime.now(UTC), error=None)
    if not everything:
        again = again.where(Accepted.id.in_(ids or []))
    for row in _run(again.returning(Accepted.id)):
        typer.echo(f"will be sent: {row.id}")


def _run(statement: "Executable") -> list[Any]:
    from .database import session
    from .run_async import run_async

    async def rows() -> list[Any]:
        async with session() as unit_of_work:
            return list(await unit_of_work.execute(statement))

    return run_async(rows())
