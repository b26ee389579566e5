"""One trace leads from a request to its job; errors reach Sentry."""

from pathlib import Path

import pytest
from live_service import running, wait_until
from telemetry_receiver import receiving, spans

# Milliseconds between two reports of spans.
OFTEN, SELDOM = {"OTEL_BSP_SCHEDULE_DELAY": "50"}, {"OTEL_BSP_SCHEDULE_DELAY": "60000"}

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


def test_one_trace_leads_from_a_request_to_its_job(tmp_path: Path) -> None:
    names = {"POST /api/hello/greet", "run/hello.greet"}
    with receiving() as (address, bodies):
        told = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{address}"} | OFTEN
        with running(tmp_path, **told) as live:
            live.client.post("/api/hello/greet", json={"name": "Ada"}).raise_for_status()
            wait_until(lambda: names <= {name for name, _ in spans(bodies)}, f"spans {names}")

    assert len({trace for name, trace in spans(bodies) if name in names}) == 1


def test_a_service_that_stops_tells_what_it_did(tmp_path: Path) -> None:
    with receiving() as (address, bodies):
        told = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{address}"} | SELDOM
        with running(tmp_path, **told) as live:
            live.ended(live.submit("hello.greet", name="Ada"))
            live.stop()

    assert "run/hello.greet" in {name for name, _ in spans(bodies)}


def test_an_error_is_reported_with_its_task(tmp_path: Path) -> None:
    with receiving() as (address, bodies):
        told = {"SENTRY_DSN": f"http://key@{address}/1"}
        with running(tmp_path, **told) as live:
            live.submit("trial.last", seconds=0, diary="/no/such/folder/diary")
            wait_until(lambda: any(b"FileNotFoundError" in body for body in bodies), "the error")

    assert any(b"trial.last" in body for body in bodies)
