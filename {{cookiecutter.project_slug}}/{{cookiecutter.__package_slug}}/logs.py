"""One log format for the service and its libraries, with the task's name and id on every line."""

import logging
import sys

import structlog

from .settings import settings

bind = structlog.contextvars.bind_contextvars
clear = structlog.contextvars.clear_contextvars


def configure(level: int = logging.CRITICAL) -> None:
    """Write every logger's lines to standard error; the more talkative of level and LOG_LEVEL."""
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
    root.setLevel(min(level, logging.getLevelNamesMapping()[settings.log_level]))


def _renderer(on_terminal: bool) -> list[structlog.typing.Processor]:
    console = settings.log_format == "console" or (settings.log_format == "auto" and on_terminal)
    if console:
        # The default would print the local variables of every frame, secrets among them.
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=on_terminal, exception_formatter=plain)]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
