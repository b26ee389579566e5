"""TLS to the broker: nothing is told to a server that cannot prove its name."""

import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme
from live_service import Service, running_service, wait_until
from unreliable_network import Line

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

SEND = "from {{ cookiecutter.__package_slug }}.tasks.hello import greet; greet.delay('Ada')"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service")) as service:
        yield service


@contextmanager
def behind_tls(service: Service, name: str, folder: Path) -> Iterator[Service]:
    """The same service, whose broker shows a certificate for this name."""
    url = urlsplit(service.environment["CELERY_BROKER_URL"])
    assert url.hostname
    assert url.port
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    authority.cert_pem.write_to_path(folder / "authority.pem")
    with Line(url.hostname, url.port, context).running() as line:
        secure = url._replace(
            scheme=f"{url.scheme}s",
            netloc=f"{url.netloc.rpartition('@')[0]}@{line.address}",
            query="ssl_cert_reqs=required" if url.scheme == "redis" else "",
        )
        changed = {
            "CELERY_BROKER_URL": secure.geturl(),
            "SSL_CERT_FILE": str(folder / "authority.pem"),
        }
        yield replace(service, environment=service.environment | changed)


def test_tasks_reach_a_server_that_proves_its_name(service: Service, tmp_path: Path) -> None:
    with behind_tls(service, "127.0.0.1", tmp_path) as secure:
        secure.run(sys.executable, "-c", SEND)

    wait_until(lambda: service.waiting("default") == 1, "the task")


def test_a_server_that_has_the_name_of_another_gets_none(service: Service, tmp_path: Path) -> None:
    with behind_tls(service, "elsewhere.example", tmp_path) as secure:
        sent = subprocess.run(
            [sys.executable, "-c", SEND],
            cwd=secure.folder,
            env=secure.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    assert sent.returncode == 1
    assert "certificate is not valid for '127.0.0.1'" in sent.stderr
