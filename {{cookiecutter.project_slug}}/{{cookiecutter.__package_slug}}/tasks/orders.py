"""Record orders, and confirm each one once it is safely written."""

import structlog
#{% if cookiecutter.task_engine == "celery" %}
from celery import shared_task
#{% endif %}
from sqlalchemy.exc import OperationalError

#{% if cookiecutter.task_engine == "gunicorn" %}
from ..dirty import shared_task
#{% endif %}
from ..jobs import orders
from ..run_async import run_async

log = structlog.stdlib.get_logger()


@shared_task(
    name="orders.record",
    soft_time_limit=20,
    time_limit=30,
    autoretry_for=(OperationalError,),
    retry_backoff=True,
    retry_backoff_max=60,
    max_retries=5,
)
def record(reference: str, customer: str, cents: int) -> bool:
    """Write an order once, however often this runs, and have it confirmed at least once."""
    order: orders.NewOrder = {"reference": reference, "customer": customer, "cents": cents}
    return run_async(orders.record(order, confirm=lambda: confirm.delay(reference)))


@shared_task(name="orders.confirm", soft_time_limit=5, time_limit=10)
def confirm(reference: str) -> None:
    """Say in the log that an order is in the database."""
    log.info("order is recorded", reference=reference)
