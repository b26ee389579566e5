"""Tasks put together: one after the other, side by side, and what happens when one fails."""

from collections.abc import Sequence
from typing import Any

#{% if cookiecutter.__result_backend != "none" %}
from celery import chain, chord, group
#{% endif %}
#{% if cookiecutter.__result_backend == "none" %}
from celery import chain, group
#{% endif %}
from celery.result import AsyncResult

from .queues import Queue
#{% if cookiecutter.__result_backend != "none" %}
from .tasks import etl, failures, images, reports
#{% endif %}
#{% if cookiecutter.__result_backend == "none" %}
from .tasks import etl, failures, images
#{% endif %}


def load_orders(source: str) -> AsyncResult[Any]:
    """A chain: each step gets what the one before it returned; a step that fails ends it."""
    steps = chain(etl.extract.s(source), etl.transform.s(), etl.load.s())
    return steps.apply_async(link_error=failures.report.s())


def make_thumbnails(sources: Sequence[str]) -> AsyncResult[Any]:
    """A group: all at once, on as many workers as there are; one result for each."""
    return group(images.thumbnail.s(source) for source in sources).apply_async()


#{% if cookiecutter.__result_backend != "none" %}
def report_on_days(days: Sequence[str]) -> AsyncResult[Any]:
    """A chord: all at once, then one task that gets all results; none of it if one fails."""
    total = reports.total.s().on_error(failures.report.s())
    return chord(reports.daily.s(day) for day in days)(total)


#{% endif %}
def make_thumbnails_in_one_task(sources: Sequence[str]) -> AsyncResult[Any]:
    """A map: one message, one worker, one after the other."""
    done: AsyncResult[Any] = images.thumbnail.map(sources).apply_async(queue=Queue.CPU)
    return done


def resize_in_one_task(sizes: Sequence[tuple[str, int, int]]) -> AsyncResult[Any]:
    """A starmap: the same for several arguments: (source, width, height)."""
    done: AsyncResult[Any] = images.resize.starmap(sizes).apply_async(queue=Queue.CPU)
    return done


def make_thumbnails_in_chunks(sources: Sequence[str], size: int = 10) -> AsyncResult[Any]:
    """Chunks: a message for so many, when a message for each costs more than the work."""
    chunks = images.thumbnail.chunks([(source,) for source in sources], size)
    done: AsyncResult[Any] = chunks.group().apply_async(queue=Queue.CPU)
    return done
