"""The command line: start the service, submit jobs and watch them."""

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def commands() -> None:
    """Run the service on this machine, and give it work."""
