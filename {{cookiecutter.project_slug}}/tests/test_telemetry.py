"""One trace leads from a request through its job to what that sends; errors reach Sentry."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
#{% if cookiecutter.include_api %}
from live_api import running_api
#{% endif %}
from live_service import PACKAGE, TIMEOUT, Service, running_service, wait_until
from telemetry_receiver import Span, receiving, spans

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

TASKS = '''
"""A task that sends another one, and one that fails."""

from celery import shared_task

from {{ cookiecutter.__package_slug }}.tasks.hello import greet


@shared_task(name="shop.welcome")
def welcome(name: str) -> None:
    """Greet somebody, a little later."""
    greet.delay(name)


@shared_task(name="shop.pay")
def pay(card: str) -> None:
    raise LookupError("no such customer")
'''
GREET = "hello.greet"
UNSENT = f"""
from contextlib import suppress

from opentelemetry.trace import get_current_span

from {PACKAGE}.celery import app
from {PACKAGE}.sending import PromptProducer


def fail(*_, **__):
    raise LookupError


PromptProducer.publish = fail
with suppress(LookupError):
    app.send_task("{GREET}")
assert not get_current_span().get_span_context().is_valid
"""
#{% if cookiecutter.include_api %}
MISTAKEN = f"""
from {PACKAGE}.api.publisher import Publisher
from {PACKAGE}.cli import app


async def fail(*_):
    raise LookupError("a mistake")


Publisher.send = fail
app()
"""
#{% endif %}


@contextmanager
def service(folder: Path, **changed: str) -> Iterator[Service]:
    (folder / "shop.py").write_text(TASKS)
    with running_service(folder, **changed) as found:
        yield found


@contextmanager
def traced(folder: Path, *options: str) -> Iterator[tuple[Service, Callable[[], list[Span]]]]:
    """A service with a worker of these options, and the spans that it has told of so far."""
    with receiving() as (address, bodies):
        told = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{address}", "OTEL_BSP_SCHEDULE_DELAY": "50"}
        with service(folder, **told) as found, found.worker("-I", "probe,shop", *options):
            yield found, lambda: spans(bodies)


def test_one_trace_leads_to_what_a_task_sends(tmp_path: Path) -> None:
    names = {f"{act}/{task}" for act in ("apply_async", "run") for task in ("shop.welcome", GREET)}
    with traced(tmp_path) as (found, told):
        found.celery("call", "shop.welcome", "--kwargs", '{"name": "Ada"}')
        wait_until(lambda: names <= {name for name, _ in told()}, f"spans {names}")

    assert len({trace for _, trace in told()}) == 1
#{% if cookiecutter.include_api %}


def test_one_trace_leads_from_a_request_to_its_job(tmp_path: Path) -> None:
    names = {"POST /api/hello/greet", f"apply_async/{GREET}", f"run/{GREET}"}
    with traced(tmp_path) as (found, told), running_api(found) as api:
        api.client.post("/api/hello/greet", json={"name": "Ada"}).raise_for_status()
        wait_until(lambda: names <= {name for name, _ in told()}, f"spans {names}")

    assert len({trace for name, trace in told() if name in names}) == 1
#{% endif %}


def test_a_task_that_is_not_sent_leaves_no_trace_open(tmp_path: Path) -> None:
    with receiving() as (address, _), service(tmp_path) as found:
        told = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{address}"}
        subprocess.run(
            [sys.executable, "-c", UNSENT],
            cwd=found.folder,
            env=found.environment | told,
            check=True,
            timeout=TIMEOUT,
        )
#{% if cookiecutter.__worker_pool == "prefork" %}


def test_a_process_that_is_replaced_tells_what_it_did(tmp_path: Path) -> None:
    with traced(tmp_path, "--max-tasks-per-child", "1") as (found, told):
        for result in [found.send(GREET, "Ada") for _ in range(6)]:
            found.value(result)
        names = [f"run/{GREET}"] * 6
        wait_until(lambda: [name for name, _ in told() if name in names] == names, "six spans")
#{% endif %}


def test_an_error_is_reported_without_the_values_that_led_to_it(tmp_path: Path) -> None:
    with receiving() as (address, bodies):
        told = {"SENTRY_DSN": f"http://key@{address}/1"}
        with service(tmp_path, **told) as found, found.worker("-I", "probe,shop"):
            found.send("shop.pay", "4111 1111")
            wait_until(lambda: any(b"no such customer" in body for body in bodies), "the error")

    assert any(b"shop.pay" in body for body in bodies)
    assert not any(b"4111 1111" in body for body in bodies)
#{% if cookiecutter.include_api %}


def test_an_error_is_reported_without_the_request_that_led_to_it(tmp_path: Path) -> None:
    (tmp_path / "mistaken.py").write_text(MISTAKEN)
    with receiving() as (address, bodies):
        told = {"SENTRY_DSN": f"http://key@{address}/1"}
        with service(tmp_path) as found, running_api(found, ["mistaken.py"], **told) as api:
            answer = api.client.post("/api/hello/greet", json={"name": "4111 1111"})
            assert answer.status_code == 500
            wait_until(lambda: any(b"a mistake" in body for body in bodies), "the error")

    assert not any(b"4111 1111" in body for body in bodies)
#{% endif %}


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_ENDPOINT", "SENTRY_DSN"])
def test_what_is_asked_for_and_not_installed_is_an_error(tmp_path: Path, variable: str) -> None:
    hidden = "import sys; sys.modules |= {'opentelemetry.sdk': None, 'sentry_sdk': None}"
    with service(tmp_path, **{variable: "http://localhost"}) as found:
        ran = subprocess.run(
            [sys.executable, "-c", f"{hidden}; import {PACKAGE}.celery"],
            cwd=found.folder,
            env=found.environment,
            capture_output=True,
            text=True,
        )

    assert ran.returncode == 1
    assert f"{variable} is set" in ran.stderr
    assert "uv sync --group" in ran.stderr
