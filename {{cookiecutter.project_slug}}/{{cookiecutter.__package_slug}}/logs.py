"""One log format for the service and its libraries; every line of a task says which one it is."""

import json
import logging
import sys
#{% if cookiecutter.task_engine == "celery" %}
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
#{% endif %}
from datetime import UTC, datetime
from typing import Any

import structlog
#{% if cookiecutter.task_engine == "celery" %}
from celery.app import trace
from celery.signals import before_task_publish, setup_logging, task_postrun, task_prerun
#{% endif %}
from structlog.stdlib import ProcessorFormatter
from structlog.typing import Processor

#{% if cookiecutter.task_engine == "celery" %}
from .queues import queue_of
#{% endif %}
from .settings import settings

# What marks all lines that belong together: of a request, its task, and whatever that starts.
CORRELATION_ID = "correlation_id"
#{% if cookiecutter.task_engine == "celery" %}
# In a message. Celery has something else by the longer name.
HEADER = "correlation"
# Of the task that a worker deals with outside of its run.
_message: ContextVar[Any] = ContextVar("message", default=None)


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
    context = structlog.contextvars.get_contextvars()
    if known := _name_message(None, "", context).get(CORRELATION_ID):
        headers[HEADER] = known


def _name_task(task_id: str, task: Any, **_: Any) -> None:
    request = task.request
    request.log_context_before = structlog.contextvars.get_contextvars()
    where = request.delivery_info or {}
    correlation_id = getattr(request, HEADER, request.root_id)
    structlog.contextvars.bind_contextvars(
        **_marks(task.name, task_id, request.retries, where, correlation_id)
    )


@contextmanager
def of_message(message: Any) -> Iterator[None]:
    """For what a worker writes of a task outside of its run: of most, nothing."""
    before = _message.set(message)
    try:
        yield
    finally:
        _message.reset(before)


def _name_message(_: Any, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if (message := _message.get()) is None:
        return line
    headers = message.headers
    correlation_id = headers.get(HEADER) or headers.get("root_id")
    name, task_id, retries = headers["task"], headers["id"], headers.get("retries") or 0
    marks = _marks(name, task_id, retries, message.delivery_info, correlation_id)
    for mark, value in marks.items():
        line.setdefault(mark, value)
    return line


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


class JSONLines(ProcessorFormatter):
    """Spares a library's line the way through structlog, for the same words in less time."""

    _encode = json.JSONEncoder(default=repr).encode

    def format(self, record: logging.LogRecord) -> str:
        is_own = isinstance(record.msg, dict)
        if is_own or record.exc_info or record.stack_info:
            return super().format(record)
        line = structlog.contextvars.merge_contextvars(None, "", {"event": record.getMessage()})
#{% if cookiecutter.task_engine == "celery" %}
        line = _name_message(None, "", line)
#{% endif %}
        line["level"] = record.levelname.lower()
        line["logger"] = record.name
        created = datetime.fromtimestamp(record.created, UTC)
        line["timestamp"] = created.isoformat().replace("+00:00", "Z")
        return self._encode(line)


def configure(loglevel: int = logging.CRITICAL, **_: Any) -> None:
    """Write every logger's lines to standard error.

    LOG_LEVEL and a command's --loglevel are both minima: the more talkative one is obeyed.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
#{% if cookiecutter.task_engine == "celery" %}
        _name_message,
#{% endif %}
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso"),
    ]
    structlog.configure(
        processors=[*shared, ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(shared, sys.stderr.isatty()))
    root = logging.getLogger()
    root.handlers = [handler]
    level = min(loglevel, logging.getLevelNamesMapping()[settings.log_level])
    root.setLevel(level)
#{% if cookiecutter.task_engine == "celery" %}
    # Each task's end is worth a line. Its arrival is to who debugs, or asks for its arguments.
    arrivals = logging.getLogger("celery.worker.strategy")
    tells_arrivals = level <= logging.DEBUG or settings.log_values
    arrivals.setLevel(logging.NOTSET if tells_arrivals else logging.WARNING)
#{% endif %}


def _formatter(shared: list[Processor], on_terminal: bool) -> ProcessorFormatter:
    strip = ProcessorFormatter.remove_processors_meta
    if settings.log_format == "console" or (settings.log_format == "auto" and on_terminal):
        # The default would print the local variables of every frame, secrets among them.
        plain = structlog.dev.plain_traceback
        words = structlog.dev.ConsoleRenderer(colors=on_terminal, exception_formatter=plain)
        return ProcessorFormatter(foreign_pre_chain=shared, processors=[strip, words])
    json_line: list[Processor] = [
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(),
    ]
    return JSONLines(foreign_pre_chain=shared, processors=[strip, *json_line])
