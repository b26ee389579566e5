"""The service as it runs: it starts, limits what runs, stops, and survives what is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from live_service import KEY, TIMEOUT, Live, running, wait_until

from {{ cookiecutter.__package_slug }}.dirty import server
from {{ cookiecutter.__package_slug }}.dirty.board import Board
from {{ cookiecutter.__package_slug }}.queues import PROCESSES, Queue

# So many that each thread of the service has something to do.
CLIENTS = 20

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with running(tmp_path_factory.mktemp("live")) as service:
        yield service


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    return tmp_path / "diary"


@pytest.fixture
def until(tmp_path: Path) -> Path:
    """A file that lets a job end."""
    return tmp_path / "until"


def begun(diary: Path) -> list[str]:
    return diary.read_text().split() if diary.exists() else []


def test_a_job_that_is_submitted_over_http_is_done_by_a_worker(live: Live) -> None:
    answer = live.client.post("/api/hello/greet?wait=30", json={"name": "Ada"})

    assert (answer.status_code, answer.json()["result"]) == (200, "Hello, Ada!")


def test_each_queue_has_processes_of_its_own(live: Live) -> None:
    """It leans on what Gunicorn may change: which process loads which app."""
    # A test before this one may have ended some.
    wait_until(live.has_all_workers, "the workers")
    names = [name.rpartition("-") for name in live.workers()]

    assert Counter(queue for queue, _, _ in names) == PROCESSES
    assert len({pid for _, _, pid in names}) == sum(PROCESSES.values())


def test_a_job_that_is_overdue_is_ended_and_its_process_with_it(live: Live) -> None:
    job = live.ended(live.submit("trial.hang"))

    assert job["state"] == "FAILURE"
    assert "TimeLimitExceeded" in job["result"]


def test_a_job_that_lets_no_other_thread_run_is_ended_too(live: Live) -> None:
    job = live.submit("trial.hog")
    runs: list[int] = []

    def is_running() -> bool:
        # It is known only until the job has ended.
        if process := live.job(job)["pid"]:
            runs.append(process)
        return bool(runs)

    wait_until(is_running, "the job to begin")

    assert "TimeLimitExceeded" in live.ended(job)["result"]
    wait_until(lambda: runs[0] not in live.processes(), "the process to end")


def test_a_job_may_tidy_up_at_its_soft_limit(live: Live) -> None:
    assert live.ended(live.submit("trial.tidy_up"))["result"] == '"tidied up"'


def test_a_job_of_which_its_process_dies_is_a_dead_letter_soon(live: Live) -> None:
    job = live.ended(live.submit("trial.die"))

    assert job["state"] == "FAILURE"
    assert "WorkerLost" in job["result"]


def test_what_a_killed_worker_held_runs_again(live: Live, diary: Path, until: Path) -> None:
    job = live.submit("trial.hold", until=str(until), diary=str(diary))
    wait_until(lambda: begun(diary), "the job to begin")
    os.kill(live.job(job)["pid"], signal.SIGKILL)
    wait_until(lambda: len(begun(diary)) == 2, "the job to begin again")
    until.touch()

    assert live.ended(job)["state"] == "SUCCESS"
    assert diary.read_text().split() == ["begins", "begins", "ends"]


def test_a_killed_arbiter_loses_no_job_and_leaves_no_orphan(
    live: Live, diary: Path, until: Path
) -> None:
    wait_until(live.has_all_workers, "the workers")
    job = live.submit("trial.hold", until=str(until), diary=str(diary))
    wait_until(lambda: begun(diary), "the job to begin")
    before = set(live.workers())
    os.kill(live.arbiter(), signal.SIGKILL)
    later = live.client.post("/api/hello/greet", json={"name": "Ada"})

    assert later.status_code == 202
    wait_until(lambda: len(begun(diary)) == 2, "the job to begin again")
    until.touch()
    assert live.ended(later.json()["id"])["state"] == "SUCCESS"
    assert live.ended(job)["state"] == "SUCCESS"
    wait_until(
        lambda: live.has_all_workers() and not before & set(live.workers()), "new workers alone"
    )


def test_who_watches_sees_the_steps_of_their_own_job_alone(live: Live) -> None:
    jobs = {live.submit("trial.step", count=count): count for count in range(20, 40)}
    seen = {}

    def watch(job: str) -> None:
        with live.client.stream("GET", f"/api/jobs/{job}/events") as answer:
            seen[job] = [line for line in answer.iter_lines() if line]

    watchers = [threading.Thread(target=watch, args=(job,)) for job in jobs]
    for watcher in watchers:
        watcher.start()
    for watcher in watchers:
        watcher.join(TIMEOUT)

    for job, count in jobs.items():
        told = [json.loads(line.removeprefix("data: ")) for line in seen[job] if "data: " in line]
        # A step knows how many there are, and everything else whose it is.
        assert {event["total"] for event in told if "total" in event} <= {count}
        assert {event["id"] for event in told if "total" not in event} == {job}
        assert told[-1]["result"] == count


def greet(live: Live, count: int) -> None:
    """Have so many people greeted, by several clients."""

    def ask(count: int) -> None:
        address, headers = live.client.base_url, live.client.headers
        with httpx2.Client(base_url=address, headers=headers, timeout=TIMEOUT) as client:
            for _ in range(count):
                answer = client.post("/api/hello/greet", json={"name": "Ada"})
                assert answer.status_code == 202

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(ask, [count // CLIENTS] * CLIENTS))
    wait_until(lambda: not any(live.board.waiting().values()), "the jobs to end")


@pytest.mark.timeout(900)
def test_many_requests_leave_neither_files_open_nor_memory_taken(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    # Of several processes one may have little to do until later, and open its files then.
    with running(tmp_path, LOG_LEVEL="WARNING", API_PROCESSES="1") as live:
        # Each thread that answers keeps a connection to the file.
        greet(live, 2000)
        files, memory = live.open_files(), live.memory()
        greet(live, 10_000)
        # The API hears a moment later that its clients have gone.
        wait_until(lambda: live.open_files() - files <= 8, "the connections to close")
        more = {"files": live.open_files() - files, "bytes": live.memory() - memory}

    for name, figure in more.items():
        record_property(f"more {name} after 10,000 requests", figure)
    assert more["files"] <= 8
    assert more["bytes"] < 16_000_000


def test_what_runs_ends_before_the_service_does_and_the_rest_waits(
    tmp_path: Path, diary: Path
) -> None:
    most = PROCESSES[Queue.DEFAULT]
    with running(tmp_path) as first:
        # Longer than it may take until each process was told.
        jobs = [first.submit("trial.last", seconds=6, diary=str(diary)) for _ in range(most + 2)]
        wait_until(lambda: begun(diary).count("begins") == most, "jobs to begin")
        assert first.stop() == 0
        states = Counter(first.job(job)["state"] for job in jobs)
        assert states == {"SUCCESS": most, "PENDING": 2}
        assert first.processes() == []

    with running(tmp_path) as second:
        assert {second.ended(job)["state"] for job in jobs} == {"SUCCESS"}


def test_what_takes_too_long_to_end_runs_again_after_the_next_start(
    tmp_path: Path, diary: Path, until: Path
) -> None:
    with running(tmp_path, SHUTDOWN_TIMEOUT="1") as first:
        job = first.submit("trial.hold", until=str(until), diary=str(diary))
        wait_until(lambda: begun(diary), "the job to begin")
        first.stop()

    until.touch()
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


def test_a_process_whose_arbiter_was_gone_before_it_began_ends(tmp_path: Path) -> None:
    program = """
import threading
from types import SimpleNamespace

from {{ cookiecutter.__package_slug }}.dirty import server

# Nobody who starts it has this number.
server.dirty_worker_init(SimpleNamespace(ppid=0, alive=True, apps={}))
threading.Event().wait()
"""
    environment = os.environ | {"JOBS_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, timeout=TIMEOUT)

    assert done.returncode == 1


def test_a_process_is_not_killed_for_a_job_that_it_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(tmp_path)
    board.submit("trial.hog", {}, Queue.DEFAULT, 10)
    delivery = board.take(Queue.DEFAULT)
    assert delivery
    looked_at = replace(delivery, began_at=0)
    board.succeed(delivery, "1")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        monkeypatch.setattr(board, "held", lambda: [(looked_at, process.pid)])
        monkeypatch.setattr(server, "board", lambda: board)
        server._keep_order()
        process.communicate(b"\n")

    assert process.returncode == 0


def test_its_lines_and_gunicorns_have_one_form(live: Live) -> None:
    live.ended(live.submit("trial.last", seconds=0, diary=str(live.folder / "line")))
    lines = [json.loads(line) for line in live.log.read_text().splitlines()]

    loggers = {line["logger"] for line in lines}
    assert {"gunicorn.error", "{{ cookiecutter.__package_slug }}.dirty.consumer"} <= loggers
    ended = next(line for line in lines if line["event"] == "task succeeded")
    assert {"task", "task_id"} <= ended.keys()


def test_it_says_once_what_it_cannot_do(live: Live) -> None:
    said = [line for line in live.log.read_text().splitlines() if "no other host" in line]

    assert len(said) == 1
    assert str(live.folder / "jobs") in said[0]


def test_a_second_service_with_the_same_jobs_does_not_start(live: Live) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn"],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"API_KEY": KEY, "JOBS_DIR": str(live.folder / "jobs"), "API_PORT": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )

    assert done.returncode != 0
    assert "another service has it already" in done.stderr


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
