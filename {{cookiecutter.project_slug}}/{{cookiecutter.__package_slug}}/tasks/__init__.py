"""The tasks: name, limits and retries of each job, and one call into it."""
#{% if cookiecutter.task_engine == "celery" %}

# Whoever imports a task alone must get this service's, not one of Celery's own default application,
# which publishes to amqp://localhost.
from ..celery import app

__all__ = ["app"]
#{% endif %}
