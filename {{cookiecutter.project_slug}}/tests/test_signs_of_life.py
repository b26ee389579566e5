"""A worker tells by the age of files how it is, with its broker and without."""

from pathlib import Path

import pytest
from live_service import running_service, wait_until

from {{ cookiecutter.__package_slug }}.settings import BROKER_SCHEMES

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture
def health(tmp_path: Path) -> Path:
    folder = tmp_path / "health"
    folder.mkdir()
    return folder


def is_renewed(file: Path) -> None:
    """Wait for the file twice: one that was made once proves nothing of now."""
    for _ in range(2):
        wait_until(file.exists, f"the worker to make the file {file.name}")
        file.unlink()


def test_a_worker_with_its_broker_is_ready(tmp_path: Path, health: Path) -> None:
    with running_service(tmp_path, HEALTH_DIR=str(health)) as service, service.worker():
        is_renewed(health / "ready")
        is_renewed(health / "alive")


def test_a_worker_that_looks_for_its_broker_is_only_alive(tmp_path: Path, health: Path) -> None:
    nowhere = {"CELERY_BROKER_URL": f"{BROKER_SCHEMES[0]}://127.0.0.1:1"}
    with (
        running_service(tmp_path, HEALTH_DIR=str(health), **nowhere) as service,
        service.worker(),
    ):
        is_renewed(health / "alive")
        assert not (health / "ready").exists()
