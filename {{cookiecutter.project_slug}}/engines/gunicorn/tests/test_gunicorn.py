"""The service as it runs: it starts, limits what runs, stops, and survives what is killed."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from live_service import KEY, TIMEOUT, Live, running, wait_until

from {{ cookiecutter.__package_slug }}.queues import PROCESSES

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(tmp_path_factory.mktemp("live")) as service:
        yield service


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    return tmp_path / "diary"


def begun(diary: Path) -> bool:
    return diary.exists()


def test_a_job_that_is_submitted_over_http_is_done_by_a_worker(live: Live) -> None:
    answer = live.client.post("/api/hello/greet?wait=30", json={"name": "Ada"})

    assert (answer.status_code, answer.json()["result"]) == (200, "Hello, Ada!")


def test_each_queue_has_processes_of_its_own(live: Live) -> None:
    """It leans on what Gunicorn may change: which process loads which app."""
    names = [name.rpartition("-") for name in live.workers()]

    assert Counter(queue for queue, _, _ in names) == PROCESSES
    assert len({pid for _, _, pid in names}) == sum(PROCESSES.values())


def test_a_job_that_is_overdue_is_ended_and_its_process_with_it(live: Live) -> None:
    job = live.ended(live.submit("trial.hang"))

    assert job["state"] == "FAILURE"
    assert "TimeLimitExceeded" in job["result"]


def test_a_job_may_tidy_up_at_its_soft_limit(live: Live) -> None:
    assert live.ended(live.submit("trial.tidy_up"))["result"] == '"tidied up"'


def test_a_job_of_which_its_process_dies_is_a_dead_letter_soon(live: Live) -> None:
    job = live.ended(live.submit("trial.die"))

    assert job["state"] == "FAILURE"
    assert "WorkerLost" in job["result"]


def test_what_a_killed_worker_held_runs_again(live: Live, diary: Path) -> None:
    job = live.submit("trial.last", seconds=1, diary=str(diary))
    wait_until(lambda: begun(diary), "the job to begin")
    os.kill(live.job(job)["pid"], signal.SIGKILL)

    assert live.ended(job)["state"] == "SUCCESS"
    assert diary.read_text().split() == ["begins", "begins", "ends"]


def test_a_killed_arbiter_loses_no_job_and_leaves_no_orphan(live: Live, diary: Path) -> None:
    wait_until(live.has_all_workers, "the workers")
    job = live.submit("trial.last", seconds=1, diary=str(diary))
    wait_until(lambda: begun(diary), "the job to begin")
    before = set(live.workers())
    os.kill(live.arbiter(), signal.SIGKILL)
    later = live.client.post("/api/hello/greet", json={"name": "Ada"})

    assert later.status_code == 202
    assert live.ended(later.json()["id"])["state"] == "SUCCESS"
    assert live.ended(job)["state"] == "SUCCESS"
    wait_until(live.has_all_workers, "the workers")
    assert not before & set(live.workers())


def test_watchers_miss_no_step(live: Live) -> None:
    job = live.submit("trial.step", count=40)
    with live.client.stream("GET", f"/api/jobs/{job}/events") as answer:
        lines = [line for line in answer.iter_lines() if line.startswith("event: ")]

    assert lines[-1] == "event: done"


def test_many_requests_leave_no_file_open(live: Live) -> None:
    def ask(count: int) -> None:
        with httpx2.Client(base_url=live.client.base_url, headers={"X-API-Key": KEY}) as client:
            for _ in range(count):
                assert client.get("/api/service").status_code == 200

    def open_files() -> int:
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in live.processes())

    ask(200)
    before = open_files()
    askers = [threading.Thread(target=ask, args=(200,)) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join(TIMEOUT)

    # Threads that answer keep a connection to the file, and there are so many at most.
    assert open_files() < before + 200


def test_what_runs_ends_before_the_service_does_and_the_rest_waits(
    tmp_path: Path, diary: Path
) -> None:
    with running(tmp_path) as first:
        jobs = [first.submit("trial.last", seconds=1, diary=str(diary)) for _ in range(3)]
        wait_until(lambda: begun(diary), "the job to begin")
        assert first.stop() == 0
        assert [first.job(job)["state"] for job in jobs] == ["SUCCESS", "PENDING", "PENDING"]
        assert first.processes() == []

    with running(tmp_path) as second:
        assert [second.ended(job)["state"] for job in jobs] == ["SUCCESS"] * 3


def test_what_takes_too_long_to_end_runs_again_after_the_next_start(
    tmp_path: Path, diary: Path
) -> None:
    with running(tmp_path, SHUTDOWN_TIMEOUT="1") as first:
        job = first.submit("trial.last", seconds=5, diary=str(diary))
        wait_until(lambda: begun(diary), "the job to begin")
        first.stop()

    with running(tmp_path) as second:
        assert second.ended(job)["state"] == "SUCCESS"
    assert diary.read_text().split() == ["begins", "begins", "ends"]


def test_who_watches_is_let_go_when_the_service_stops(tmp_path: Path, diary: Path) -> None:
    with running(tmp_path) as live:
        job = live.submit("trial.last", seconds=2, diary=str(diary))
        ended = threading.Event()

        def watch() -> None:
            with live.client.stream("GET", f"/api/jobs/{job}/events") as answer:
                list(answer.iter_lines())
            ended.set()

        watcher = threading.Thread(target=watch)
        watcher.start()
        wait_until(lambda: begun(diary), "the job to begin")
        live.stop()
        watcher.join(TIMEOUT)

    assert ended.is_set()


def test_a_killed_service_leaves_no_process(tmp_path: Path) -> None:
    with running(tmp_path) as live:
        os.kill(live.process.pid, signal.SIGKILL)
        live.process.wait(TIMEOUT)
        wait_until(lambda: not live.processes(), "the processes to end")


def test_without_a_key_it_does_not_start() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn"],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"API_KEY": ""},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )

    assert done.returncode != 0
    assert "API_KEY" in done.stderr
