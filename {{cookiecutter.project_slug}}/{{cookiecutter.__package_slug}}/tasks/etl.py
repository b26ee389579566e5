"""Load orders from files in the background: in one task, or step by step in a workflow."""

#{% if cookiecutter.task_engine == "celery" %}
from celery import shared_task

#{% endif %}
#{% if cookiecutter.task_engine == "gunicorn" %}
from ..dirty import shared_task
#{% endif %}
from ..jobs import etl
from ..progress import publish


@shared_task(name="etl.extract", soft_time_limit=290, time_limit=300)
def extract(source: str) -> str:
    """Stage a CSV of orders."""
    return etl.extract(source)


@shared_task(name="etl.transform", soft_time_limit=290, time_limit=300)
def transform(staged: str) -> str:
    """Clean staged orders."""
    return etl.transform(staged)


@shared_task(name="etl.load", soft_time_limit=290, time_limit=300)
def load(staged: str, table: str = etl.TABLE) -> etl.Loaded:
    """Add clean orders to the table that reports read."""
    return etl.load(staged, table)


@shared_task(name="etl.run", soft_time_limit=590, time_limit=600)
def run(source: str, table: str = etl.TABLE) -> etl.Loaded:
    """Do all three steps in one task, and report each one."""
    return publish(etl.run(source, table))


@shared_task(name="etl.aggregate", soft_time_limit=50, time_limit=60)
def aggregate(
    group_by: str, column: str, function: etl.Function, table: str = etl.TABLE
) -> dict[str, float]:
    """One figure for each group of orders."""
    return etl.aggregate(group_by, column, function, table)
