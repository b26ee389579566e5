"""The process that serves the API, until SIGTERM: what was accepted is answered before it ends."""

import signal
#{% if cookiecutter.__result_backend != "none" %}
import socket
#{% endif %}
import sys

import uvicorn

from .. import logs
#{% if cookiecutter.include_metrics %}
from ..metrics_server import serve as serve_metrics
#{% endif %}
from ..settings import settings
from .application import create_app


def serve() -> None:
    """Ends the process when there is no key: the API must not be open by accident."""
    if not settings.api_keys:
        raise SystemExit("The API does not start without API_KEY: set one in .env.")
    logs.configure()
    # While it serves Uvicorn takes the signal itself, and then raises it again. It is a good end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    configuration = uvicorn.Config(
        create_app(),
        host=settings.api_host,
        port=settings.api_port,
        # Seconds. No request takes longer but one that waits for a result.
        timeout_graceful_shutdown=10,
        log_config=None,
        access_log=False,
        server_header=False,
    )
    #{% if cookiecutter.include_metrics %}
    serve_metrics()
    #{% endif %}
    #{% if cookiecutter.__result_backend == "none" %}
    uvicorn.Server(configuration).run()
    #{% endif %}
    #{% if cookiecutter.__result_backend != "none" %}
    Server(configuration).run()


class Server(uvicorn.Server):
    """Ends those first who watch, and would keep their connections for as long as they like."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.app.state.store.end_watching()  # type: ignore[union-attr]
        await super().shutdown(sockets)
    #{% endif %}
