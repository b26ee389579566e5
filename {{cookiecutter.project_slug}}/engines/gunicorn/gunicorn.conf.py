"""How Gunicorn serves the API and runs the jobs: `gunicorn` alone, in this folder, starts all."""

from {{ cookiecutter.__package_slug }}.dirty import server
from {{ cookiecutter.__package_slug }}.dirty.jobs import tasks, time_limit
from {{ cookiecutter.__package_slug }}.dirty.server import (  # noqa: F401
    dirty_worker_exit,
    dirty_worker_init,
    on_dirty_starting,
    on_starting,
)
from {{ cookiecutter.__package_slug }}.queues import PROCESSES
from {{ cookiecutter.__package_slug }}.settings import settings

if not settings.api_keys:
    raise SystemExit("The service does not start without API_KEY: set one in .env.")

wsgi_app = "{{ cookiecutter.__package_slug }}.api.application:create_app()"
#{% if cookiecutter.include_metrics %}
bind = [f"{settings.api_host}:{settings.api_port}"]
if settings.metrics_port is not None:
    bind.append(f"{settings.metrics_host}:{settings.metrics_port}")
#{% endif %}
#{% if not cookiecutter.include_metrics %}
bind = f"{settings.api_host}:{settings.api_port}"
#{% endif %}
worker_class = f"{server.__name__}.HttpWorker"
workers = settings.api_processes
dirty_apps = [f"{app}:{PROCESSES[queue]}" for queue, app in server.APPS.items()]
dirty_workers = sum(PROCESSES.values())
# Seconds without a sign of life after which a process is killed. A job may keep it from giving any
# for as long as it may run, and is ended by others then; this is for when there are none.
dirty_timeout = int(max(time_limit(name) for name in tasks())) + 30
dirty_graceful_timeout = settings.shutdown_timeout + 2
graceful_timeout = settings.shutdown_timeout + 4
# Under one name a second service would take the first one's arbiter for a leftover.
proc_name = f"{{ cookiecutter.project_slug }}-{settings.api_port}"
control_socket_disable = True
logger_class = f"{server.__name__}.Logger"
loglevel = settings.log_level
