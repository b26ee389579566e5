"""One log format for the service and its libraries; every line of a task says which one it is."""

import logging
import sys
#{% if cookiecutter.task_engine == "celery" %}
from collections.abc import Mapping
from contextlib import AbstractContextManager
#{% endif %}
from typing import Any

import structlog
#{% if cookiecutter.task_engine == "celery" %}
from celery.app import trace
from celery.signals import before_task_publish, setup_logging, task_postrun, task_prerun
#{% endif %}

#{% if cookiecutter.task_engine == "celery" %}
from .queues import queue_of
#{% endif %}
from .settings import settings

# What marks all lines that belong together: of a request, its task, and whatever that starts.
CORRELATION_ID = "correlation_id"
#{% if cookiecutter.task_engine == "celery" %}
# In a message. Celery has something else by the longer name.
HEADER = "correlation"


def connect() -> None:
    """Have Celery leave its logging to this module, and say when a task begins and ends."""
    setup_logging.connect(configure)
    before_task_publish.connect(_pass_on)
    task_prerun.connect(_name_task)
    task_postrun.connect(_forget_task)
    if settings.log_values:
        trace.LOG_RECEIVED += " with %(args)s and %(kwargs)s"
    else:
        trace.LOG_SUCCESS = trace.LOG_SUCCESS.removesuffix(": %(return_value)s")


def _pass_on(headers: dict[str, Any], **_: Any) -> None:
    if known := structlog.contextvars.get_contextvars().get(CORRELATION_ID):
        headers[HEADER] = known


def _name_task(task_id: str, task: Any, **_: Any) -> None:
    request = task.request
    request.log_context_before = structlog.contextvars.get_contextvars()
    where = request.delivery_info or {}
    correlation_id = getattr(request, HEADER, request.root_id)
    structlog.contextvars.bind_contextvars(
        **_marks(task.name, task_id, request.retries, where, correlation_id)
    )


def of_message(message: Any) -> AbstractContextManager[None]:
    """For what a worker writes of a task outside of its run."""
    headers = message.headers
    correlation_id = headers.get(HEADER) or headers.get("root_id")
    name, task_id, retries = headers["task"], headers["id"], headers.get("retries") or 0
    return structlog.contextvars.bound_contextvars(
        **_marks(name, task_id, retries, message.delivery_info, correlation_id)
    )


def _marks(
    name: str, task_id: str, retries: int, where: Mapping[str, Any], correlation_id: str | None
) -> dict[str, Any]:
    return {
        "task": name,
        "task_id": task_id,
        "attempt": retries + 1,
        "queue": queue_of(str(where.get("routing_key"))),
        CORRELATION_ID: correlation_id,
    }


def _forget_task(task: Any, **_: Any) -> None:
    # What a task has bound must not mark the lines of the next one, nor those of its caller.
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**task.request.log_context_before)
#{% endif %}


def configure(loglevel: int = logging.CRITICAL, **_: Any) -> None:
    """Write every logger's lines to standard error.

    LOG_LEVEL and a command's --loglevel are both minima: the more talkative one is obeyed.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso"),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderer(sys.stderr.isatty()),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(min(loglevel, logging.getLevelNamesMapping()[settings.log_level]))


def _renderer(on_terminal: bool) -> list[structlog.typing.Processor]:
    console = settings.log_format == "console" or (settings.log_format == "auto" and on_terminal)
    if console:
        # The default would print the local variables of every frame, secrets among them.
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=on_terminal, exception_formatter=plain)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
