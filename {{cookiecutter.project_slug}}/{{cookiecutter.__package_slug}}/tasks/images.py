"""Resize pictures in the background."""

#{% if cookiecutter.task_engine == "celery" %}
from celery import shared_task

#{% endif %}
#{% if cookiecutter.task_engine == "gunicorn" %}
from ..dirty import shared_task
#{% endif %}
from ..jobs import images
from ..progress import publish


@shared_task(name="images.resize", soft_time_limit=50, time_limit=60)
def resize(source: str, width: int, height: int) -> images.Picture:
    """Write a copy of a picture that is exactly so wide and high."""
    return images.resize(source, width, height)


@shared_task(name="images.thumbnail", soft_time_limit=50, time_limit=60)
def thumbnail(source: str, size: int = 128) -> images.Picture:
    """Write a small copy of a picture."""
    return images.thumbnail(source, size)


@shared_task(name="images.thumbnails", soft_time_limit=540, time_limit=600)
def thumbnails(sources: list[str], size: int = 128) -> images.Batch:
    """Write small copies of many pictures, and report each one."""
    return publish(images.thumbnails(sources, size))
