"""One log format for the service and its libraries, with the task's name and id on every line."""

import logging
import sys
from typing import Any

import structlog
#{% if cookiecutter.task_engine == "celery" %}
from celery.signals import setup_logging, task_postrun, task_prerun
#{% endif %}

from .settings import settings


#{% if cookiecutter.task_engine == "celery" %}
def connect() -> None:
    """Have Celery leave its logging to this module, and say when a task begins and ends."""
    setup_logging.connect(configure)
    task_prerun.connect(_name_task)
    task_postrun.connect(_forget_task)


def _name_task(task_id: str, task: Any, **_: Any) -> None:
    task.request.log_context_before = structlog.contextvars.get_contextvars()
    structlog.contextvars.bind_contextvars(task=task.name, task_id=task_id)


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
