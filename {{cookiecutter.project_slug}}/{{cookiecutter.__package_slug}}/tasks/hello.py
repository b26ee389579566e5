"""The smallest task there is."""

from celery import shared_task

from ..jobs import hello


@shared_task(name="hello.greet", soft_time_limit=5, time_limit=10)
def greet(name: str) -> str:
    """Greet somebody by name."""
    return hello.greet(name)
