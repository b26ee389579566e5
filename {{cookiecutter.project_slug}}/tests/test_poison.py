"""A task that would end its worker is kept, and the worker goes on with the next one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_service import Service, running_service, wait_until

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service")) as service:
        yield service


@pytest.mark.parametrize("error", ["MemoryError", "SystemExit"])
def test_an_error_that_would_end_a_worker_is_one_like_any_other(
    service: Service, error: str, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    with service.worker() as worker:
        failed = service.send("probe.end_badly", error, str(started))
        with pytest.raises(Exception, match="on purpose"):
            service.value(failed)
        letter = service.dead_letter()
        assert service.value(service.send("hello.greet", "Ada")) == "Hello, Ada!"
        assert worker.poll() is None

    assert (letter["id"], letter["reason"]) == (failed.id, "failed")
    assert error in letter["error"]
    assert len(started.read_text().split()) == 1


def test_a_task_whose_result_cannot_be_stored_holds_up_no_other(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, lines = tmp_path / "results", tmp_path / "lines"
    results.mkdir()
    monkeypatch.setitem(service.environment, "CELERY_RESULT_BACKEND", f"file://{results}")
    with service.worker():
        hanging = service.hang(tmp_path / "hanging")
        hanging.wait_for_run()
        shutil.rmtree(results)
        hanging.end()
        letter = service.dead_letter()
        results.mkdir()
        service.send("probe.write", str(lines), "next")
        wait_until(lines.exists, "the next task")

    assert letter["id"] == hanging.result.id
