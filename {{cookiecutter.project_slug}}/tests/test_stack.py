"""The containers of compose.yaml start, work, survive restarts, and stop without losing a task."""

#{% if cookiecutter.include_flower %}
import base64
#{% endif %}
import json
import re
import subprocess
from collections.abc import Callable, Iterator
#{% if cookiecutter.include_api or cookiecutter.include_flower %}
from urllib.error import HTTPError
from urllib.request import Request, urlopen
#{% endif %}
#{% if cookiecutter.include_metrics and not cookiecutter.include_api and not cookiecutter.include_flower %}
from urllib.request import urlopen
#{% endif %}

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
#{% if cookiecutter.include_metrics %}
# What Prometheus asks.
PROCESSES = {"worker", "beat"}
#{% endif %}
#{% if cookiecutter.include_metrics and cookiecutter.include_sqlalchemy %}
PROCESSES.add("outbox")
#{% endif %}
#{% if cookiecutter.include_metrics and cookiecutter.include_api %}
PROCESSES.add("api")
#{% endif %}
PROBE = '''
"""The service, with tasks that show what becomes of them, and a schedule that does not let wait."""

import itertools
import os
import sys
import time
from pathlib import Path

from kombu.exceptions import OperationalError

from {{ cookiecutter.__package_slug }}.celery import app

DATA = Path("data")
app.conf.beat_schedule = {"tick": {"task": "probe.write", "schedule": 1, "args": ("ticks", "tick")}}


@app.task(name="probe.write", queue="default")
def write(file, line):
    with (DATA / file).open("a") as lines:
        lines.write(f"{line}\\n")


@app.task(name="probe.hang", queue="default")
def hang(started, until):
    write(started, os.getpid())
    while not (DATA / until).exists():
        time.sleep(0.01)


def produce():
    for number in itertools.count():
        if (DATA / "enough").exists():
            break
        try:
            app.send_task("probe.write", ("done", str(number)), queue="default")
        except OperationalError as error:
            print(repr(error), file=sys.stderr, flush=True)
        else:
            write("accepted", number)
        time.sleep(0.05)


if __name__ == "__main__":
    produce()
'''


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The containers, until the last test has ended."""
    worker = ["celery", "-A", "probe", "worker"{{ cookiecutter._pools[cookiecutter.worker_pool].argument }}]
    beat = ["celery", "-A", "probe", "beat", "--schedule=schedule/beat", "--pidfile=", "-l", "INFO"]
    probe = "./probe.py:/app/probe.py:ro"
    changed = {
        "worker": {
            "command": worker,
            "volumes": [probe, "./test-data:/app/data"],
            "environment": {
                #{% if cookiecutter.__broker == "sqs" %}
                # Longer than a request for messages, which would take again what is given back.
                "SHUTDOWN_TIMEOUT": "12",
                #{% endif %}
                #{% if cookiecutter.__broker != "sqs" %}
                "SHUTDOWN_TIMEOUT": "3",
                #{% endif %}
                "TASK_TIME_LIMIT": "20",
                "VISIBILITY_TIMEOUT": "${VISIBILITY_TIMEOUT:-3600}",
            },
        },
        "beat": {"command": beat, "volumes": [probe]},
    }
    with running(tmp_path_factory.mktemp("stack") / "project", PROBE, changed) as stack:
        yield stack


def send(stack: Stack, task: str, *arguments: str) -> None:
    """Through a container of the service, as the broker is not published."""
    code = f"import probe; probe.app.send_task({task!r}, {arguments!r}, queue='default')"
    stack.compose("exec", "-T", "worker", "python", "-c", code)


def test_a_missing_secret_is_named(stack: Stack) -> None:
    for name in needed_secrets():
        without = {key: value for key, value in stack.environment.items() if key != name}
        refusal = Stack(stack.folder, stack.data, without).compose("config", fails=True)
        assert name in refusal


def test_a_task_is_done(stack: Stack) -> None:
    send(stack, "probe.write", "one", "line")

    wait_until(lambda: stack.lines("one") == ["line"], "the task's line")


def test_nobody_is_root_or_can_change_the_program(stack: Stack) -> None:
    look = "id -u; grep -E '^(CapEff|NoNewPrivs)' /proc/1/status; touch /x || true"
    for service in stack.services():
        user, *powers = stack.compose("exec", "-T", service, "sh", "-c", look).split()

        assert user != "0", service
        assert powers == ["CapEff:", "0" * 16, "NoNewPrivs:", "1"], service


def test_the_image_holds_no_secret_and_no_tool_to_build(stack: Stack) -> None:
    look = "ls -a; env; command -v uv gcc; true"
    image = "--entrypoint=sh", IMAGE
    found = stack.docker("run", "--rm", *image, "-c", look)

    assert ".env\n" not in found
    assert "PASSWORD" not in found
    assert not re.search("/(uv|gcc)$", found, re.MULTILINE)


#{% if cookiecutter.__broker == "rabbitmq" %}
def test_the_service_is_no_administrator_of_rabbitmq(stack: Stack) -> None:
    users = stack.compose("exec", "-T", "rabbitmq", "rabbitmqctl", "-q", "list_users").split("\n")

    assert [line.split() for line in users[1:] if line] == [["service", "[]"]]


#{% endif %}
def test_only_this_machine_can_reach_a_port(stack: Stack) -> None:
    assert published(stack) <= {"127.0.0.1"}
#{% if cookiecutter.include_api %}


def test_the_api_takes_a_job_with_the_key_only(stack: Stack) -> None:
    # A test before this one may have started it again.
    stack.compose("up", "--wait", "api")
    address = f"http://127.0.0.1:{stack.environment['API_PORT']}/api/hello/greet"
    headers = {"Content-Type": "application/json"}
    job = Request(address, b'{"name": "Ada"}', headers)
    with pytest.raises(HTTPError, match="401"):
        urlopen(job, timeout=TIMEOUT)

    job.add_header("X-API-Key", stack.environment["API_KEY"])
    with urlopen(job, timeout=TIMEOUT) as answer:
        assert answer.status == 202
#{% endif %}
#{% if cookiecutter.include_flower %}


def test_flower_answers_only_with_the_password(stack: Stack) -> None:
    # A test before this one may have started it again.
    stack.compose("up", "--wait", "flower")
    page = Request(f"http://127.0.0.1:{stack.environment['FLOWER_PORT']}/workers")
    with pytest.raises(HTTPError, match="401"):
        urlopen(page, timeout=TIMEOUT)

    login = base64.b64encode(stack.environment["FLOWER_BASIC_AUTH"].encode()).decode()
    page.add_header("Authorization", f"Basic {login}")
    with urlopen(page, timeout=TIMEOUT) as answer:
        assert answer.status == 200
#{% endif %}
#{% if cookiecutter.include_metrics %}


def test_prometheus_sees_every_process(stack: Stack) -> None:
    stack.compose("--profile=monitoring", "up", "--wait", "prometheus")
    port = stack.environment["PROMETHEUS_PORT"]

    def seen() -> set[str]:
        address = f"http://127.0.0.1:{port}/api/v1/query?query=up%20%3D%3D%201"
        with urlopen(address, timeout=TIMEOUT) as answer:
            found = json.load(answer)["data"]["result"]
        return {process["metric"]["service"] for process in found}

    wait_until(lambda: seen() == PROCESSES, f"Prometheus to see {PROCESSES}")
    stack.compose("--profile=monitoring", "rm", "--stop", "--force", "prometheus")
#{% endif %}


def test_beat_sends_what_is_due(stack: Stack) -> None:
    wait_until(lambda: len(stack.lines("ticks")) >= 2, "two ticks")


def test_a_second_beat_waits_and_takes_over(stack: Stack) -> None:
    first = stack.container("beat")
    stack.compose("up", "--wait", "--no-recreate", "--scale=beat=2", "beat")
    second = next(name for name in stack.compose("ps", "-q", "beat").split() if name != first)

    wait_until(lambda: "this one waits" in stack.log(second), "the second beat to wait")
    sent = len(stack.lines("ticks"))
    wait_until(lambda: len(stack.lines("ticks")) > sent + 1, "two more ticks")
    assert "which was due" not in stack.log(second)
    stack.docker("kill", first)
    wait_until(lambda: "which was due" in stack.log(second), "the second beat to take over")
    stack.compose("up", "--wait", "--scale=beat=1", "beat")


def test_workers_are_added_and_taken_away(stack: Stack) -> None:
    stack.compose("up", "--wait", "--no-recreate", "--scale=worker=3", "worker")
    assert len(stack.compose("ps", "-q", "worker").split()) == 3

    send(stack, "probe.write", "spread", "line")
    wait_until(lambda: stack.lines("spread"), "the task's line")
    stack.compose("up", "--wait", "--no-recreate", "--scale=worker=1", "worker")


def test_what_a_stopped_worker_had_begun_is_done_by_the_next(stack: Stack) -> None:
    send(stack, "probe.hang", "started", "until")
    wait_until(lambda: stack.lines("started"), "the task to begin")
    container = stack.container("worker")

    stack.compose("stop", "worker")
    state = json.loads(stack.docker("inspect", container))[0]["State"]
    assert state["ExitCode"] == 0, "the worker had to be killed"

    stack.compose("start", "worker")
    wait_until(lambda: len(stack.lines("started")) == 2, "the task to begin again")
    (stack.data / "until").touch()


def restart(stack: Stack, service: str) -> None:
    stack.compose("restart", service)


def kill(stack: Stack, service: str) -> None:
    # Compose's own command would kill what runs beside them, too.
    stack.docker("kill", *stack.compose("ps", "--quiet", service).split())
    stack.compose("start", service)


@pytest.mark.parametrize("fault", [restart, kill])
def test_no_task_is_lost_whatever_happens_to_each_container(
    stack: Stack, fault: Callable[[Stack, str], None]
) -> None:
    for file in ("accepted", "done", "enough"):
        (stack.data / file).unlink(missing_ok=True)
    # What a worker holds when its broker is gone comes back after this time.
    stack.environment["VISIBILITY_TIMEOUT"] = "30"
    stack.compose("up", "--wait")
    producer = ["docker", "compose", "run", "--rm", "-T", "--no-deps", "worker"]
    with subprocess.Popen(
        [*producer, "python", "probe.py"], cwd=stack.folder, env=stack.environment
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

    try:
        wait_until(lambda: not missing(stack), "all tasks")
    except pytest.fail.Exception:
        pytest.fail(f"missing: {missing(stack)}\n{stack.compose('logs', '--tail=50', 'worker')}")


def missing(stack: Stack) -> set[str]:
    """The tasks that were accepted and are not done yet."""
    return set(stack.lines("accepted")) - set(stack.lines("done"))


def test_watch_brings_changed_code_into_the_containers(stack: Stack) -> None:
    code = f"{PACKAGE}/jobs/hello.py"
    seen = ["exec", "-T", "worker", "grep", "-c", "Good morning", code]
    with subprocess.Popen(
        ["docker", "compose", "watch", "--no-up"],
        cwd=stack.folder,
        env=stack.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as watching:
        assert watching.stdout
        try:
            next(line for line in watching.stdout if "atch" in line)
            old = (stack.folder / code).read_text()
            (stack.folder / code).write_text(old.replace("Hello", "Good morning"))
            wait_until(lambda: is_done(stack, *seen), "the change to arrive")
        finally:
            watching.terminate()


def is_done(stack: Stack, *arguments: str) -> bool:
    command = ["docker", "compose", *arguments]
    ran = subprocess.run(command, cwd=stack.folder, env=stack.environment, capture_output=True)
    return ran.returncode == 0
