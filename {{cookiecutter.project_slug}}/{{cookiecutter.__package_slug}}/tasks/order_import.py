"""Write staged orders into the database in the background."""

from celery import shared_task
from sqlalchemy.exc import OperationalError

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
