"""The container starts, works, survives restarts, and stops without losing a job."""

import json
import subprocess
from collections.abc import Callable, Iterator
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from containers import (
    IMAGE,
    TIMEOUT,
    Stack,
    needed_secrets,
    published,
    running,
    wait_for_more,
    wait_until,
)

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]

PACKAGE = "{{ cookiecutter.__package_slug }}"
PROBE = '''
"""Tasks that show what becomes of them, and a producer of many."""

import itertools
import os
import time
from pathlib import Path

from ..dirty import shared_task
from ..dirty.jobs import submit

DATA = Path("data")


@shared_task(name="probe.write")
def write(file, line):
    with (DATA / file).open("a") as lines:
        lines.write(f"{line}\\n")


@shared_task(name="probe.hang")
def hang(started, until):
    write(started, os.getpid())
    while not (DATA / until).exists():
        time.sleep(0.01)


def produce():
    for number in itertools.count():
        if (DATA / "enough").exists():
            break
        submit("probe.write", {"file": "done", "line": str(number)})
        write("accepted", number)
        time.sleep(0.05)


if __name__ == "__main__":
    produce()
'''


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The container, until the last test has ended."""
    service = {
        "volumes": [
            f"./probe.py:/app/{PACKAGE}/tasks/probe.py:ro",
            "./test-data:/app/data",
        ],
        "environment": {"SHUTDOWN_TIMEOUT": "3"},
    }
    folder = tmp_path_factory.mktemp("stack") / "project"
    with running(folder, PROBE, {"service": service}) as stack:
        yield stack


def submit(stack: Stack, task: str, *arguments: str) -> None:
    command = ["python", "-m", PACKAGE, "submit", "--no-wait", task, *arguments]
    stack.compose("exec", "-T", "service", *command)


def test_a_missing_secret_is_named(stack: Stack) -> None:
    for name in needed_secrets():
        without = {key: value for key, value in stack.environment.items() if key != name}
        refusal = Stack(stack.folder, stack.data, without).compose("config", fails=True)
        assert name in refusal


def test_a_job_is_done(stack: Stack) -> None:
    submit(stack, "probe.write", "file=one", "line=line")

    wait_until(lambda: stack.lines("one") == ["line"], "the job's line")


def test_what_is_due_is_submitted(stack: Stack) -> None:
    def greeted() -> bool:
        return "hello.greet" in stack.compose("logs", "service")

    wait_until(greeted, "the schedule to have somebody greeted")


def test_nobody_is_root_or_can_change_the_program(stack: Stack) -> None:
    look = "id -u; grep -E '^(CapEff|NoNewPrivs)' /proc/1/status; touch /x || true"
    for service in stack.services():
        user, *powers = stack.compose("exec", "-T", service, "sh", "-c", look).split()

        assert user != "0", service
        assert powers == ["CapEff:", "0" * 16, "NoNewPrivs:", "1"], service


def test_the_image_holds_no_secret_and_no_tool_to_build(stack: Stack) -> None:
    look = "ls -a; env; command -v uv gcc; true"
    found = stack.docker("run", "--rm", "--entrypoint=sh", IMAGE, "-c", look)

    assert ".env\n" not in found
    assert "PASSWORD" not in found
    assert "/uv\n" not in found
    assert "/gcc\n" not in found


def test_only_this_machine_can_reach_a_port(stack: Stack) -> None:
    assert published(stack) == {"127.0.0.1"}


def test_the_api_takes_a_job_with_the_key_only(stack: Stack) -> None:
    # A test before this one may have started it again.
    stack.compose("up", "--wait")
    address = f"http://127.0.0.1:{stack.environment['API_PORT']}/api/hello/greet"
    headers = {"Content-Type": "application/json"}
    job = Request(address, b'{"name": "Ada"}', headers)
    with pytest.raises(HTTPError, match="401"):
        urlopen(job, timeout=TIMEOUT)

    job.add_header("X-API-Key", stack.environment["API_KEY"])
    with urlopen(job, timeout=TIMEOUT) as answer:
        assert answer.status == 202
#{% if cookiecutter.include_metrics %}


def test_prometheus_sees_the_service(stack: Stack) -> None:
    stack.compose("--profile=monitoring", "up", "--wait", "prometheus")
    port = stack.environment["PROMETHEUS_PORT"]

    def seen() -> set[str]:
        address = f"http://127.0.0.1:{port}/api/v1/query?query=up%20%3D%3D%201"
        with urlopen(address, timeout=TIMEOUT) as answer:
            found = json.load(answer)["data"]["result"]
        return {process["metric"]["service"] for process in found}

    wait_until(lambda: seen() == {"service"}, "Prometheus to see it")
    stack.compose("--profile=monitoring", "rm", "--stop", "--force", "prometheus")
#{% endif %}


def test_what_a_stopped_service_had_begun_is_done_by_the_next(stack: Stack) -> None:
    submit(stack, "probe.hang", "started=started", "until=until")
    wait_until(lambda: stack.lines("started"), "the job to begin")
    container = stack.container("service")

    stack.compose("stop", "service")
    state = json.loads(stack.docker("inspect", container))[0]["State"]
    assert state["ExitCode"] == 0, "the service had to be killed"

    stack.compose("start", "service")
    wait_until(lambda: len(stack.lines("started")) == 2, "the job to begin again")
    (stack.data / "until").touch()


def restart(stack: Stack, service: str) -> None:
    stack.compose("restart", service)


def kill(stack: Stack, service: str) -> None:
    stack.docker("kill", stack.container(service))
    stack.compose("start", service)


@pytest.mark.parametrize("fault", [restart, kill])
def test_no_job_is_lost_whatever_happens_to_each_container(
    stack: Stack, fault: Callable[[Stack, str], None]
) -> None:
    for file in ("accepted", "done", "enough"):
        (stack.data / file).unlink(missing_ok=True)
    # Beside the service, in a container of its own, which has the same file.
    producer = ["docker", "compose", "run", "--rm", "-T", "--no-deps", "service"]
    with subprocess.Popen(
        [*producer, "python", "-m", f"{PACKAGE}.tasks.probe"],
        cwd=stack.folder,
        env=stack.environment,
    ) as producing:
        try:
            for service in stack.services():
                wait_for_more(stack, "accepted")
                fault(stack, service)
            stack.compose("up", "--wait")
            wait_for_more(stack, "accepted")
        finally:
            (stack.data / "enough").touch()
        assert producing.wait(TIMEOUT) == 0

    wait_until(lambda: not missing(stack), "all jobs")


def missing(stack: Stack) -> set[str]:
    """The jobs that were accepted and are not done yet."""
    return set(stack.lines("accepted")) - set(stack.lines("done"))
