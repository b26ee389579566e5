"""Files tell how a worker and beat are, without asking them."""

import threading
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection
from kombu.exceptions import OperationalError

from {{ cookiecutter.__package_slug }} import health
from {{ cookiecutter.__package_slug }}.settings import settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one that HEALTH_DIR names, and which nobody has made yet."""
    changed = settings.model_copy(update={"health_dir": tmp_path / "health"})
    monkeypatch.setattr(health, "settings", changed)
    return tmp_path / "health"


def test_a_sign_of_life_is_a_new_file(folder: Path) -> None:
    folder.mkdir()
    # A name that the worker of other tests does not use.
    health.sign("a sign")

    assert (folder / "a sign").exists()


def test_a_sign_that_cannot_be_given_does_not_stop_the_work(folder: Path) -> None:
    health.sign(health.ALIVE)

    assert not folder.exists()


def test_nothing_is_written_unless_somebody_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    health.sign(health.ALIVE)

    assert not list(tmp_path.iterdir())


def test_who_looks_for_the_broker_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    signs: dict[str, set[int]] = {health.ALIVE: set(), health.READY: set()}
    monkeypatch.setattr(health, "sign", lambda name: signs[name].add(threading.get_ident()))
    patience: dict[str, Any] = {"max_retries": 1, "interval_start": 0.01}
    with Connection("redis://127.0.0.1:1") as connection:
        health.sign_while_connecting(connection)
        with pytest.raises(OperationalError):
            connection.ensure_connection(callback=lambda: asked.append(True), **patience)

    # Not looked at: the worker of other tests, which signs in a thread of its own.
    assert [name for name in signs if threading.get_ident() in signs[name]] == ["alive"]
    assert asked


def test_the_broker_is_looked_for_as_often_as_at_first() -> None:
    waits: list[float] = []
    patience: dict[str, Any] = {"max_retries": 4, "interval_start": 0.01}

    def note(error: Exception, seconds: float) -> None:
        waits.append(seconds)

    with Connection("redis://127.0.0.1:1") as connection:
        health.sign_while_connecting(connection)
        with pytest.raises(OperationalError):
            connection.ensure_connection(note, **patience)

    assert waits == [0.01] * 4
