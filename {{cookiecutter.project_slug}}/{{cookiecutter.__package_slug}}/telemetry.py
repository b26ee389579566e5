"""Traces and errors, for who asks for them by the variables of OpenTelemetry and of Sentry."""

import os
#{% if cookiecutter.task_engine == "gunicorn" %}
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
#{% endif %}
from typing import Any

#{% if cookiecutter.task_engine == "celery" %}
from celery.signals import worker_process_shutdown

#{% endif %}
from .settings import settings

# Any of them makes a process tell what it does.
TRACES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
ERRORS = "SENTRY_DSN"
# Milliseconds that a process which ends may take to send what it still has.
LONGEST_FLUSH = 5_000
#{% if cookiecutter.task_engine == "gunicorn" %}
# What spans are given to; nothing, unless it is asked for.
_tracing: list[Any] = []
#{% endif %}


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
    os.environ.setdefault("OTEL_SERVICE_NAME", "{{ cookiecutter.project_slug }}")
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    #{% if cookiecutter.task_engine == "gunicorn" %}
    _tracing.append(provider)
    #{% endif %}
    #{% if cookiecutter.task_engine == "celery" %}
    instrumentor: Any = CeleryInstrumentor()
    instrumentor.instrument()

    def flush(**_: Any) -> None:
        provider.force_flush(LONGEST_FLUSH)

    # A process of the pool ends without what Python does at the end of others.
    worker_process_shutdown.connect(flush, weak=False)
    #{% endif %}


def _report_errors() -> None:
    try:
        import sentry_sdk
    except ImportError:
        raise SystemExit(_missing(ERRORS, "sentry")) from None
    # The arguments of tasks, and the variables of each frame.
    values = settings.log_values
    sentry_sdk.init(send_default_pii=values, include_local_variables=values)


def _missing(variable: str, group: str) -> str:
    return f"{variable} is set, but what it needs is not installed: uv sync --group {group}"
#{% if cookiecutter.task_engine == "gunicorn" %}


def carrier() -> dict[str, str]:
    """What a job takes along, so that it becomes part of the trace that submits it."""
    found: dict[str, str] = {}
    if _tracing:
        from opentelemetry import propagate

        propagate.inject(found)
    return found


@contextmanager
def running(task: str, carrier: Mapping[str, str]) -> Iterator[None]:
    """A job is part of the trace that has submitted it."""
    if not _tracing:
        yield
        return
    from opentelemetry import propagate, trace

    tracer = trace.get_tracer(__name__)
    parent = propagate.extract(carrier)
    with tracer.start_as_current_span(f"run/{task}", parent, trace.SpanKind.CONSUMER):
        yield


def flush() -> None:
    """Before a process ends without what Python does at the end of others."""
    for provider in _tracing:
        provider.force_flush(LONGEST_FLUSH)
#{% endif %}
