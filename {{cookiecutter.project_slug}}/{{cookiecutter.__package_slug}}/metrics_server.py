"""Answers Prometheus."""

#{% if cookiecutter.__worker_pool == "prefork" %}
from socket import socket

from prometheus_client import start_http_server
#{% endif %}
#{% if cookiecutter.__worker_pool != "prefork" %}
from socket import socket

from prometheus_client import REGISTRY, start_http_server
#{% endif %}
from prometheus_client.registry import Collector

#{% if cookiecutter.__worker_pool == "prefork" %}
from .metric_files import registry
#{% endif %}
from .settings import settings


def serve(*collectors: Collector) -> socket | None:
    """Answer at METRICS_HOST and METRICS_PORT from now on, if that is set. Returns the listener."""
    if settings.metrics_port is None:
        return None
    #{% if cookiecutter.__worker_pool == "prefork" %}
    found = registry()
    #{% endif %}
    #{% if cookiecutter.__worker_pool != "prefork" %}
    found = REGISTRY
    #{% endif %}
    for collector in collectors:
        found.register(collector)
    host, port = settings.metrics_host, settings.metrics_port
    try:
        server, _ = start_http_server(port, host, found)
    except OSError as problem:
        raise SystemExit(
            f"METRICS_PORT={port}: metrics cannot be served at {host}:{port}: {problem.strerror}. "
            "Each process that serves them needs a port of its own."
        ) from None
    return server.socket
