"""What Flower reads at its start: nobody sees the page without a password."""

import sys

from flower.views.monitor import Healthcheck, Metrics
from tornado.web import authenticated

from {{ cookiecutter.__package_slug }}.settings import settings

if settings.flower_basic_auth is None:
    sys.exit("Flower needs a password: set FLOWER_BASIC_AUTH=user:password.")

basic_auth = [settings.flower_basic_auth]
# Workers that left must not fill the page for ever. Seconds.
purge_offline_workers = 300

# Flower itself asks for no password there, and names of tasks and workers are told.
for page in (Healthcheck, Metrics):
    page.get = authenticated(page.get)
