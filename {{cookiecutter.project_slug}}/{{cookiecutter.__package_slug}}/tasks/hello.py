"""The smallest task there is."""

#{% if cookiecutter.task_engine == "celery" %}
from celery import shared_task

#{% endif %}
#{% if cookiecutter.task_engine == "gunicorn" %}
from ..dirty import shared_task
#{% endif %}
from ..jobs import hello


@shared_task(name="hello.greet", soft_time_limit=5, time_limit=10)
def greet(name: str) -> str:
    """Greet somebody by name."""
    return hello.greet(name)
