"""The `dev` command as its user lives with it: started, given work, broken, changed and stopped."""

import asyncio
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from dev_folder import NEEDED, TIMEOUT, Folder, copy_project, ended, press_ctrl_c
from live_service import sending_to

from {{ cookiecutter.__package_slug }} import supervisor
from {{ cookiecutter.__package_slug }}.embedded_broker import running
#{% if cookiecutter.include_api %}
from {{ cookiecutter.__package_slug }}.ports import free_port
#{% endif %}

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
reads_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

PACKAGE = "{{ cookiecutter.__package_slug }}"
# What the command line of each service holds.
SERVICES = {"worker": " worker ", "beat": " beat ", "broker": "-server "}
#{% if cookiecutter.include_sqlalchemy %}
SERVICES["relay"] = " outbox relay "
#{% endif %}
#{% if cookiecutter.include_api %}
SERVICES["api"] = " api "
#{% endif %}
PROBE = '''
"""Tasks that do what no task should."""

import time
from pathlib import Path

from celery import shared_task


@shared_task(name="probe.hang")
def hang(started: str) -> None:
    Path(started).touch()
    time.sleep(600)


@shared_task(name="probe.print_line")
def print_line(length: int) -> None:
    print("x" * length)
'''


@dataclass(frozen=True)
class Service(Folder):
    """With the tasks of these tests, and a way to its broker."""

    @property
    def found(self) -> dict[str, str]:
        """The environment in which other terminals find broker and results."""
        lines = self.environment_file.read_text().splitlines()
        found = self.environment | dict(line.split("=", 1) for line in lines)
        # Unless they are elsewhere, results are one database on, on the broker's server.
        beside = f"{found['CELERY_BROKER_URL'].removesuffix('0')}1"
        return {"CELERY_RESULT_BACKEND": beside} | found

    def send(self, task: str, **options: Any) -> str:
        with sending_to(self.found) as sender:
            return str(sender.send_task(task, **options).id)

    def result(self, task_id: str) -> Any:
        with sending_to(self.found) as sender:
            return sender.AsyncResult(task_id).get(timeout=TIMEOUT, interval=0.02)

    def greet(self) -> Any:
        return self.result(self.send("hello.greet", args=["Ada"]))

    def has_broker(self) -> bool:
        url = self.found["CELERY_BROKER_URL"]
        with suppress(redis.ConnectionError), redis.Redis.from_url(url) as client:
            return bool(client.ping())
        return False

    def services(self, name: str) -> set[int]:
        """The process that `dev` started, without those that it started in turn."""
        found = set()
        for process, command in self.processes().items():
            with suppress(ProcessLookupError):  # it ended meanwhile
                if SERVICES[name] in command and os.getpgid(process) == process:
                    found.add(process)
        return found


def service(path: Path, **environment: str) -> Service:
    chosen = {"WORKER_CONCURRENCY": "1"}
    #{% if cookiecutter.include_api %}
    # Its own: while this one is started again, another `dev` could take the port.
    chosen["API_PORT"] = str(free_port())
    #{% endif %}
    #{% if cookiecutter.__result_backend == "none" %}
    # The service keeps no results, but without any a test would see nothing.
    path.with_suffix(".results").mkdir()
    chosen["CELERY_RESULT_BACKEND"] = f"file://{path.with_suffix('.results')}"
    #{% endif %}
    return Service(path, copy_project(path, PROBE) | chosen | environment)


@dataclass(frozen=True)
class FirstRun:
    """What a `dev` that was ended by Ctrl-C left to the next one."""

    finished_task: str
    waiting_task: str
    status: int
    processes: dict[int, str]
    environment_file_is_left: bool


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return service(tmp_path_factory.mktemp("shared") / "project")


@pytest.fixture(scope="module")
def first_run(folder: Service) -> FirstRun:
    with folder.running() as dev:
        finished = folder.send("hello.greet", args=["Ada"])
        folder.result(finished)
        waiting = folder.send("hello.greet", args=["Grace"], countdown=5)
        # What no worker has seen waits in Redis; this is the harder case.
        folder.wait_until(lambda: waiting in folder.log.read_text(), "the worker to hold a task")
        press_ctrl_c(dev)
        status = ended(dev)
        left = folder.environment_file.exists()
        return FirstRun(finished, waiting, status, folder.processes(), left)


@pytest.fixture(scope="module")
def dev(folder: Service, first_run: FirstRun) -> Iterator["subprocess.Popen[bytes]"]:
    with folder.running() as dev:
        yield dev


@reads_proc
def test_ctrl_c_stops_everything(first_run: FirstRun) -> None:
    assert first_run.processes == {}
    assert first_run.status == 0
    assert not first_run.environment_file_is_left


@pytest.mark.usefixtures("dev")
def test_results_survive_a_restart(folder: Service, first_run: FirstRun) -> None:
    assert folder.result(first_run.finished_task) == "Hello, Ada!"


@pytest.mark.usefixtures("dev")
def test_jobs_that_wait_survive_a_restart(folder: Service, first_run: FirstRun) -> None:
    assert "Grace!" in folder.result(first_run.waiting_task)


@pytest.mark.usefixtures("dev")
def test_a_job_that_is_submitted_in_another_terminal_is_done(folder: Service) -> None:
    submitted = folder.command("submit", "hello.greet", "name=Grace")

    assert submitted.returncode == 0, submitted.stderr
    (task_id,) = re.findall(r"hello\.greet, id (\S+)", submitted.stderr)
    assert "Grace!" in folder.result(task_id)


@pytest.mark.usefixtures("dev")
def test_all_that_is_kept_is_in_one_folder(folder: Service) -> None:
    kept = {path.name for path in folder.path.iterdir()} - NEEDED

    # The database and the files of jobs have a folder of their own.
    assert kept - {"data"} == {".dev"}


@pytest.mark.usefixtures("dev")
def test_a_second_dev_in_the_same_folder_is_refused(folder: Service) -> None:
    second = folder.command("dev")

    assert second.returncode == 1
    assert "runs in this folder already" in second.stderr
    assert folder.environment_file.exists()


@reads_proc
@pytest.mark.usefixtures("dev")
def test_passwords_are_shown_to_nobody_else(folder: Service) -> None:
    environment = folder.environment_file.read_text()
    passwords = re.findall(r":([\w-]{8,})(?:@|$)", environment, re.MULTILINE)

    assert passwords
    assert stat.S_IMODE(folder.environment_file.stat().st_mode) == 0o600
    assert not re.search("|".join(passwords), str(folder.processes()))


@reads_proc
@pytest.mark.usefixtures("dev")
@pytest.mark.parametrize(
    "names", [["broker"], [name for name in SERVICES if name != "broker"]], ids=" and ".join
)
def test_what_is_killed_is_started_again(
    folder: Service, first_run: FirstRun, names: list[str]
) -> None:
    # What a killed worker holds does not come back at once.
    folder.result(first_run.waiting_task)
    # Without a broker, for a moment, some end by themselves.
    folder.wait_until(
        lambda: all(len(folder.services(name)) == 1 for name in names), "one process of each"
    )
    killed = {name: folder.services(name) for name in names}
    for (process,) in killed.values():
        os.kill(process, signal.SIGKILL)
    folder.wait_until(
        lambda: all(folder.services(name) - killed[name] for name in names), "new processes"
    )
    folder.wait_until(folder.has_broker, "the broker to answer")

    assert "Ada!" in folder.greet()


@pytest.mark.usefixtures("dev")
def test_a_job_that_prints_a_very_long_line_is_done(folder: Service) -> None:
    assert folder.result(folder.send("probe.print_line", args=[1_000_000])) is None


@pytest.mark.usefixtures("dev")
def test_a_change_is_used_even_after_one_that_broke_the_code(folder: Service) -> None:
    source = folder.path / PACKAGE / "jobs" / "hello.py"
    original = source.read_text()
    source.write_text("Hello")  # a name that is not defined
    folder.wait_until(lambda: "NameError" in folder.log.read_text(), "the worker to break")
    source.write_text(original.replace("Hello", "Good day"))

    # The worker that is on its way out may still take one.
    folder.wait_until(lambda: folder.greet() == "Good day, Ada!", "the change to be used")


@reads_proc
def test_sigterm_stops_everything_but_the_broker_of_somebody_else(tmp_path: Path) -> None:
    with running(tmp_path / "broker") as broker:
        urls = {"CELERY_BROKER_URL": broker.url(0), "CELERY_RESULT_BACKEND": broker.url(1)}
        folder = service(tmp_path / "project", **urls)
        with folder.running() as dev:
            task_id = folder.send("hello.greet", args=["Ada"])
            assert folder.result(task_id) == "Hello, Ada!"
            assert folder.services("broker") == set()
            dev.terminate()
            assert ended(dev) == 0

        assert folder.processes() == {}
        with redis.Redis.from_url(broker.url(1)) as results:
            # Not the only one, perhaps: the schedule has somebody greeted, too.
            assert results.exists(f"celery-task-meta-{task_id}")


@reads_proc
def test_ctrl_c_while_it_starts_stops_everything(tmp_path: Path) -> None:
    folder = service(tmp_path / "project")
    with folder.starting() as dev:
        folder.wait_until(folder.environment_file.exists, "the broker")
        press_ctrl_c(dev)
        assert ended(dev) == 0

    assert folder.processes() == {}


@reads_proc
def test_dev_that_is_killed_takes_even_a_busy_worker_with_it(tmp_path: Path) -> None:
    folder = service(tmp_path / "project")
    with folder.running() as dev:
        started = tmp_path / "started"
        folder.send("probe.hang", args=[str(started)])
        folder.wait_until(started.exists, "a task to run")
        dev.kill()

    folder.wait_until(lambda: not folder.processes(), "everything to end")


def test_a_change_ends_the_pause_after_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "SHORTEST_PAUSE", 600)
    service = supervisor.Service("crash", [sys.executable, "-c", "exit(1)"], os.environ)
    pauses: asyncio.Queue[str] = asyncio.Queue()
    monkeypatch.setattr(service, "say", pauses.put_nowait)

    async def crash_change_and_crash() -> None:
        running = asyncio.create_task(service.keep_running())
        await asyncio.wait_for(pauses.get(), TIMEOUT)
        await service.replace()
        await asyncio.wait_for(pauses.get(), TIMEOUT)
        await service.stop()
        await running

    asyncio.run(crash_change_and_crash())
