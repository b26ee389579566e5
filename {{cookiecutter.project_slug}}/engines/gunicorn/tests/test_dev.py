"""The `dev` command as its user lives with it: started, given work, broken, changed and stopped."""

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from dev_folder import NEEDED, TIMEOUT, Folder, copy_project, ended, press_ctrl_c

from {{ cookiecutter.__package_slug }}.ports import free_port

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]
reads_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

PACKAGE = "{{ cookiecutter.__package_slug }}"
PROBE = '''
"""Tasks that do what no task should."""

import time
from pathlib import Path

from ..dirty import shared_task


@shared_task(name="probe.hang")
def hang(started: str) -> None:
    Path(started).touch()
    time.sleep(600)
'''


def project(path: Path) -> Folder:
    # Its own: while this one is started again, another `dev` could take the port.
    chosen = {"API_PORT": str(free_port()), "SHUTDOWN_TIMEOUT": "2"}
    return Folder(path, copy_project(path, PROBE) | chosen)


def greeting(folder: Folder, name: str) -> str:
    done = folder.command("submit", "hello.greet", f"name={name}")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return project(tmp_path_factory.mktemp("shared") / "project")


@pytest.fixture(scope="module")
def dev(folder: Folder) -> Iterator["subprocess.Popen[bytes]"]:
    with folder.running() as dev:
        yield dev


@pytest.mark.usefixtures("dev")
def test_a_job_that_is_submitted_in_another_terminal_is_done(folder: Folder) -> None:
    assert "Grace!" in greeting(folder, "Grace")


@pytest.mark.usefixtures("dev")
def test_all_that_is_kept_is_in_one_folder(folder: Folder) -> None:
    kept = {path.name for path in folder.path.iterdir()} - NEEDED

    # The database and the files of jobs have a folder of their own, and Gunicorn reads its
    # configuration as Python.
    assert kept - {"data", "__pycache__"} == {".dev"}


@pytest.mark.usefixtures("dev")
def test_a_second_dev_in_the_same_folder_is_refused(folder: Folder) -> None:
    second = folder.command("dev")

    assert second.returncode == 1
    assert "runs in this folder already" in second.stderr
    assert folder.environment_file.exists()


@reads_proc
@pytest.mark.usefixtures("dev")
def test_the_key_is_shown_to_nobody_else(folder: Folder) -> None:
    (key,) = re.findall("^API_KEY=(.+)$", folder.environment_file.read_text(), re.MULTILINE)

    assert stat.S_IMODE(folder.environment_file.stat().st_mode) == 0o600
    assert key not in str(folder.processes())


@reads_proc
@pytest.mark.usefixtures("dev")
def test_what_is_killed_is_started_again(folder: Folder) -> None:
    def services() -> set[int]:
        found = set()
        for pid, command in folder.processes().items():
            with suppress(ProcessLookupError):  # it ended meanwhile
                if "gunicorn" in command and os.getpgid(pid) == pid:
                    found.add(pid)
        return found

    (killed,) = services()
    os.kill(killed, signal.SIGKILL)
    folder.wait_until(lambda: services() - {killed}, "a new process")

    assert "Ada!" in greeting(folder, "Ada")


@pytest.mark.usefixtures("dev")
def test_a_change_is_used_even_after_one_that_broke_the_code(folder: Folder) -> None:
    source = folder.path / PACKAGE / "jobs" / "hello.py"
    original = source.read_text()
    source.write_text("Hello")  # a name that is not defined
    folder.wait_until(lambda: "NameError" in folder.log.read_text(), "the service to break")
    source.write_text(original.replace("Hello", "Good day"))

    # A process that is on its way out may still take one.
    folder.wait_until(lambda: greeting(folder, "Ada") == '"Good day, Ada!"', "the change")


@reads_proc
def test_ctrl_c_stops_everything_and_loses_no_job(tmp_path: Path) -> None:
    folder = project(tmp_path / "project")
    with folder.running() as dev:
        press_ctrl_c(dev)
        assert ended(dev) == 0
    assert folder.processes() == {}
    assert not folder.environment_file.exists()

    jobs = {"JOBS_DIR": str(folder.path / ".dev" / "jobs")}
    later = Folder(folder.path, folder.environment | jobs)
    submitted = later.command("submit", "--no-wait", "hello.greet", "name=Grace")
    (job,) = re.findall(r"hello\.greet, id (\S+)", submitted.stderr)
    with folder.running():
        folder.wait_until(lambda: f"task_id={job}" in folder.log.read_text(), "the job to be done")


@reads_proc
def test_dev_that_is_killed_takes_even_a_busy_process_with_it(tmp_path: Path) -> None:
    folder = project(tmp_path / "project")
    with folder.running() as dev:
        started = tmp_path / "started"
        folder.command("submit", "--no-wait", "probe.hang", f"started={started}")
        folder.wait_until(started.exists, "a job to run")
        dev.kill()
        dev.wait(TIMEOUT)

    folder.wait_until(lambda: not folder.processes(), "everything to end")
