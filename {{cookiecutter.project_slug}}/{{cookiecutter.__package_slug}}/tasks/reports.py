"""Report, fetch and tidy up in the background; schedule.py says when."""

from datetime import date

import httpx2
#{% if cookiecutter.task_engine == "celery" %}
from celery import shared_task
#{% endif %}

#{% if cookiecutter.task_engine == "gunicorn" %}
from ..dirty import shared_task
#{% endif %}
from ..jobs import reports
from ..run_async import run_async


@shared_task(name="reports.daily", soft_time_limit=110, time_limit=120)
def daily(day: str | None = None) -> reports.Report:
    """Report on a day, such as 2026-11-20; on yesterday when none is given."""
    return reports.daily(date.fromisoformat(day) if day else reports.yesterday())


@shared_task(name="reports.total", soft_time_limit=20, time_limit=30)
def total(days: list[reports.Report]) -> reports.Report:
    """Add up the reports of several days."""
    return reports.total(days)


@shared_task(name="reports.cleanup", soft_time_limit=110, time_limit=120)
def cleanup(folder: str, max_age_days: float) -> list[str]:
    """Delete files that are older than so many days."""
    return reports.cleanup(folder, max_age_days)


@shared_task(
    name="reports.sync",
    soft_time_limit=110,
    time_limit=120,
    autoretry_for=(httpx2.TransportError, reports.Unavailable),
    retry_backoff=True,
    retry_backoff_max=600,
    max_retries=8,
)
def sync(url: str) -> reports.Download:
    """Download a file; while the server is away, try again ever more slowly."""
    return run_async(reports.sync(url))
