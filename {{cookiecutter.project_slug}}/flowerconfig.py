"""What Flower reads at its start: nobody sees the page without a password."""

import sys

from flower.views.monitor import Healthcheck, Metrics
from tornado.web import HTTPError, RequestHandler

from {{ cookiecutter.__package_slug }}.settings import settings

if settings.flower_basic_auth is None:
    sys.exit("Flower needs a password: set FLOWER_BASIC_AUTH=user:password.")

basic_auth = [settings.flower_basic_auth]
# Workers that left must not fill the page for ever. Seconds.
purge_offline_workers = 300


def answer_here_only(handler: RequestHandler) -> None:
    """Flower asks for no password there, so only this machine, or this container, has an answer."""
    # A proxy on this machine asks for somebody else.
    is_here = handler.request.remote_ip in ("127.0.0.1", "::1")
    if not is_here or "X-Forwarded-For" in handler.request.headers:
        raise HTTPError(403)


Healthcheck.prepare = Metrics.prepare = answer_here_only
