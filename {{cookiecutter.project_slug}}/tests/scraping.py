"""Reads what a process tells Prometheus."""

import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection
from typing import Any

#{% if cookiecutter.task_engine == "celery" %}
from live_service import TIMEOUT, wait_until
#{% endif %}
#{% if cookiecutter.task_engine == "gunicorn" %}
from live_service import TIMEOUT
#{% endif %}
from prometheus_client.parser import text_string_to_metric_families

# Seconds. Whatever counts, or looks whether something is to be put in order, has done so by then.
SETTLED_AFTER = 2.0

Samples = dict[tuple[str, tuple[str, ...]], float]


def scrape(port: str) -> Samples:
    """Name and values of the labels, in the order of the labels' names -> value."""
    text = ""
    # Nobody may answer there yet.
    with suppress(ConnectionError):
        connection = HTTPConnection("127.0.0.1", int(port), timeout=TIMEOUT)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


#{% if cookiecutter.task_engine == "celery" %}
def wait_for(port: str, name: str, *labels: str, value: float) -> Samples:
    """All there is, as soon as this one has the value."""
    found: Samples = {}

    def has_value() -> bool:
        found.clear()
        found.update(scrape(port))
        return found.get((name, labels)) == value

    wait_until(has_value, f"{name}{labels} to be {value}")
    return found


#{% endif %}
def lasting(look: Callable[[], Any], expected: Any) -> Any:
    """What there is: this, if it comes to that in time, and nothing is added afterwards."""
    deadline = time.monotonic() + TIMEOUT
    while look() != expected and time.monotonic() < deadline:
        time.sleep(0.1)
    deadline = time.monotonic() + SETTLED_AFTER
    while (found := look()) == expected and time.monotonic() < deadline:
        time.sleep(0.1)
    return found
