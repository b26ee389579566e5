"""Lets a job be part of the trace that submits it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ..telemetry import is_tracing


def carrier() -> dict[str, str]:
    """What a job takes along, to be found again by whoever runs it."""
    found: dict[str, str] = {}
    if is_tracing():
        from opentelemetry import propagate

        propagate.inject(found)
    return found


@contextmanager
def running(task: str, carrier: Mapping[str, str]) -> Iterator[None]:
    """What happens in the block is a part of the carrier's trace."""
    if not is_tracing():
        yield
        return
    from opentelemetry import propagate, trace

    tracer, parent = trace.get_tracer(__name__), propagate.extract(carrier)
    with tracer.start_as_current_span(f"run/{task}", parent, trace.SpanKind.CONSUMER):
        yield
