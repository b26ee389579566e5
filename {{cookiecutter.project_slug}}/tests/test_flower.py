"""Flower is never without a password."""

import base64
import os
import runpy
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from live_service import Service, running_service, wait_until

from {{ cookiecutter.__package_slug }}.celery import app
from {{ cookiecutter.__package_slug }}.ports import free_port
from {{ cookiecutter.__package_slug }}.settings import Settings, load

pytestmark = pytest.mark.timeout(240)
PROJECT = Path(__file__).parents[1]
CONFIGURATION = PROJECT / "flowerconfig.py"


def use(monkeypatch: pytest.MonkeyPatch, flower_basic_auth: str | None) -> None:
    settings = Settings(_env_file=None, flower_basic_auth=flower_basic_auth)
    monkeypatch.setattr(f"{app.main}.settings.settings", settings)


def test_flower_asks_for_the_password_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, flower_basic_auth="ada:secret")

    assert runpy.run_path(str(CONFIGURATION))["basic_auth"] == ["ada:secret"]


def test_flower_refuses_to_start_without_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, flower_basic_auth=None)

    with pytest.raises(SystemExit, match="FLOWER_BASIC_AUTH"):
        runpy.run_path(str(CONFIGURATION))


@pytest.mark.parametrize("login", ["ada", ":secret", "ada:"])
def test_half_a_login_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, login: str) -> None:
    monkeypatch.setenv("FLOWER_BASIC_AUTH", login)

    with pytest.raises(SystemExit, match=r"FLOWER_BASIC_AUTH=\*\*\*: "):
        load()


@contextmanager
def flower(folder: Path, broker: str) -> Iterator[str]:
    """The address of a Flower that was started as its documentation says."""
    port = free_port()
    chosen = {
        "CELERY_BROKER_URL": broker,
        "FLOWER_BASIC_AUTH": "ada:secret",
        "FLOWER_DB": str(folder / "seen"),
        "FLOWER_PERSISTENT": "true",
        "FLOWER_READ_ONLY": "true",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", app.main, "flower", f"--port={port}"],
        cwd=PROJECT,
        env=os.environ | chosen,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Iterator[str]:
    broker = service.environment["CELERY_BROKER_URL"]
    with flower(tmp_path_factory.mktemp("flower"), broker) as address:
        yield address


def asking(page: str, login: str | None, data: bytes | None = None) -> urllib.request.Request:
    request = urllib.request.Request(page, data)  # noqa: S310
    if login:
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    return request


def told(page: str, login: str) -> str:
    with urllib.request.urlopen(asking(page, login), timeout=10) as answer:  # noqa: S310
        return str(answer.read())


def status(
    page: str,
    login: str | None = None,
    timeout: float = 30,
    data: bytes | None = None,
) -> int:
    request = asking(page, login, data)
    deadline = time.monotonic() + timeout
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                return int(answer.status)
        except urllib.error.HTTPError as refusal:
            refusal.close()
            return refusal.code
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.mark.live
def test_the_page_opens_only_with_the_password(page: str) -> None:
    assert status(page) == 401
    assert status(page, "ada:wrong") == 401
    assert status(page, "ada:secret") == 200


@pytest.mark.live
@pytest.mark.parametrize("path", ["/metrics", "/healthcheck"])
def test_what_flower_leaves_open_needs_the_password_too(page: str, path: str) -> None:
    assert status(page + path) == 401
    assert status(page + path, "ada:secret") == 200


@pytest.mark.live
def test_a_page_that_only_shows_ends_no_worker(page: str) -> None:
    assert status(f"{page}/api/worker/shutdown/celery@localhost", "ada:secret", data=b"") == 403


@pytest.mark.live
def test_it_has_workers_tell_of_their_tasks(page: str, service: Service) -> None:
    def is_shown() -> bool:
        service.send("hello.greet", "Ada")
        return "hello.greet" in told(f"{page}/api/tasks", "ada:secret")

    assert status(page, "ada:secret") == 200
    with service.worker():
        wait_until(is_shown, "Flower to show a task")


@pytest.mark.live
def test_what_it_has_seen_outlasts_its_end(tmp_path: Path, service: Service) -> None:
    with flower(tmp_path, service.environment["CELERY_BROKER_URL"]) as page:
        assert status(page, "ada:secret") == 200

    assert list(tmp_path.glob("seen*"))
