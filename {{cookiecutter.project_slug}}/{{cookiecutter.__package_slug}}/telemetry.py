"""Traces and errors, for who asks for them by the variables of OpenTelemetry and of Sentry."""

import os
#{% if cookiecutter.task_engine == "celery" %}
from collections.abc import Iterator
from contextlib import contextmanager
#{% endif %}
from threading import Thread
from typing import Any

#{% if cookiecutter.task_engine == "celery" %}
from celery.signals import worker_process_shutdown

#{% endif %}
from .settings import settings

# Any of them makes a process tell what it does.
TRACES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
ERRORS = "SENTRY_DSN"
# Seconds that a process which ends may take to send what it still has. Whoever is to receive it may
# be away.
LONGEST_FLUSH = 5.0
# What spans are given to; nothing, unless it is asked for.
_providers: list[Any] = []


def start() -> None:
    """Before a process sends or runs anything.

    Raises SystemExit when what is asked for is not installed.
    """
    is_off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if not is_off and (named := next(filter(os.environ.get, TRACES), None)):
        _trace(named)
    if os.environ.get(ERRORS):
        _report_errors()


def _trace(named: str) -> None:
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        #{% if cookiecutter.task_engine == "celery" %}
        from opentelemetry.instrumentation.celery import CeleryInstrumentor
        #{% endif %}
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise SystemExit(_missing(named, "otel")) from None
    if "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        os.environ.setdefault("OTEL_SERVICE_NAME", "{{ cookiecutter.project_slug }}")
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    _providers.append(provider)
    #{% if cookiecutter.task_engine == "celery" %}
    instrumentor: Any = CeleryInstrumentor()
    instrumentor.instrument()
    worker_process_shutdown.connect(flush)
    #{% endif %}


#{% if cookiecutter.task_engine == "celery" %}
@contextmanager
def publishing(task: str, task_id: str) -> Iterator[None]:
    """Ends the span of a task that is not sent, or all that its thread does would be in it."""
    try:
        yield
    except BaseException:
        if _providers:
            from opentelemetry.instrumentation.celery import CeleryInstrumentor

            # Nothing that is public ends it.
            CeleryInstrumentor._trace_after_publish(sender=task, headers={"id": task_id})
        raise


#{% endif %}
#{% if cookiecutter.task_engine == "gunicorn" %}
def is_tracing() -> bool:
    return bool(_providers)


#{% endif %}
def flush(**_: object) -> None:
    """Before a process ends without what Python does at the end of others."""
    for provider in _providers:
        flushing = Thread(target=provider.force_flush, daemon=True)
        flushing.start()
        flushing.join(LONGEST_FLUSH)


def _report_errors() -> None:
    try:
        import sentry_sdk
    except ImportError:
        raise SystemExit(_missing(ERRORS, "sentry")) from None
    # The arguments of tasks, of requests to the API too, and the variables of each frame.
    values = settings.log_values
    sentry_sdk.init(
        send_default_pii=values,
        include_local_variables=values,
        max_request_body_size="medium" if values else "never",
        before_breadcrumb=None if values else _without_values,
    )


def _without_values(line: Any, hint: Any) -> Any:
    """Celery's lines on a task come with its arguments and its result, though they show none."""
    line.pop("data", None)
    return line


def _missing(variable: str, group: str) -> str:
    return f"{variable} is set, but what it needs is not installed: uv sync --group {group}"
