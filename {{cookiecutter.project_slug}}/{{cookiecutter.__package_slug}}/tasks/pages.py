"""Fetch web pages through the cache."""

import httpx2
#{% if cookiecutter.task_engine == "celery" %}
from celery import shared_task
#{% endif %}

#{% if cookiecutter.task_engine == "gunicorn" %}
from ..dirty import shared_task
#{% endif %}
from ..jobs import pages
from ..run_async import run_async


@shared_task(
    name="pages.fetch",
    soft_time_limit=30,
    time_limit=40,
    autoretry_for=(httpx2.TransportError,),
    retry_backoff=True,
    retry_backoff_max=60,
    max_retries=5,
)
def fetch(url: str) -> pages.Page:
    """Fetch a page, or take it from the cache when somebody asked for it lately."""
    return run_async(pages.fetch(url))
