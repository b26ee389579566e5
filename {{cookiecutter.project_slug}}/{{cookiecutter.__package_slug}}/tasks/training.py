"""Train and ask the model in the background."""

from datetime import date

#{% if cookiecutter.task_engine == "celery" %}
from celery import shared_task

#{% endif %}
#{% if cookiecutter.task_engine == "gunicorn" %}
from ..dirty import shared_task
#{% endif %}
from ..jobs import training
from ..jobs.etl import TABLE
from ..progress import publish


@shared_task(name="training.fit", soft_time_limit=1500, time_limit=1600)
def fit(epochs: int = 20, table: str = TABLE) -> training.Trained:
    """Train the model, and report each epoch."""
    return publish(training.fit(epochs, table))


@shared_task(name="training.predict", soft_time_limit=5, time_limit=10)
def predict(day: str) -> float:
    """What an order of a day, such as 2026-11-20, is likely to cost, in cents."""
    return training.predict(date.fromisoformat(day))
