"""What Flower reads at its start: nobody sees the page without a password."""

import sys
from typing import ClassVar

from flower import urls
from flower.views.monitor import Healthcheck, Metrics
from tornado.web import HTTPError, RequestHandler

from {{ cookiecutter.__package_slug }}.settings import settings

if settings.flower_basic_auth is None:
    sys.exit("Flower needs a password: set FLOWER_BASIC_AUTH=user:password.")

basic_auth = [settings.flower_basic_auth]
# Workers that left must not fill the page for ever. Seconds.
purge_offline_workers = 300


class Local(RequestHandler):
    """Flower asks for no password here, so only this machine, or this container, has an answer."""

    here: ClassVar = {"127.0.0.1", "::1"}

    def prepare(self) -> None:
        # A proxy on this machine asks for somebody else.
        if self.request.remote_ip not in self.here or "X-Forwarded-For" in self.request.headers:
            raise HTTPError(403)
        super().prepare()


class LocalHealthcheck(Local, Healthcheck): ...


class LocalMetrics(Local, Metrics): ...


LOCAL = {Healthcheck: LocalHealthcheck, Metrics: LocalMetrics}
urls.handlers[:] = [(path, LOCAL.get(known, known), *more) for path, known, *more in urls.handlers]
