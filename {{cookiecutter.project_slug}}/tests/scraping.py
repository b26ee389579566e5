"""Reads what a process tells Prometheus."""

from contextlib import suppress
from http.client import HTTPConnection

from live_service import TIMEOUT, wait_until
from prometheus_client.parser import text_string_to_metric_families

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


def wait_for(port: str, name: str, *labels: str, value: float) -> Samples:
    """All there is, as soon as this one has the value."""
    wait_until(lambda: scrape(port).get((name, labels)) == value, f"{name}{labels} to be {value}")
    return scrape(port)
