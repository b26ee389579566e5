"""Write staged orders into the database in the background."""

#{% if cookiecutter.task_engine == "celery" %}
from celery import shared_task
#{% endif %}
from sqlalchemy.exc import OperationalError

#{% if cookiecutter.task_engine == "gunicorn" %}
from ..dirty import shared_task
#{% endif %}
from ..jobs import order_import
from ..run_async import run_async


@shared_task(
    name="order_import.run",
    soft_time_limit=590,
    time_limit=600,
    autoretry_for=(OperationalError,),
    retry_backoff=True,
    retry_backoff_max=60,
    max_retries=5,
)
def run(staged: str) -> order_import.Imported:
    """Import staged orders; those that are in the database stay as they are."""
    return run_async(order_import.run(staged))
