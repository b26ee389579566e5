"""The service runs with what production installs; no development tool hides a missing package."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from combinations import Answers, Render
from environments import Superset, requirements
from servers import Servers, free_port

REDIS = """
import json, sys
from pathlib import Path
from order_jobs.embedded_broker import running

with running(Path(sys.argv[1])) as server:
    urls = {"CELERY_BROKER_URL": server.url(0), "CELERY_RESULT_BACKEND": server.url(1)}
    print(json.dumps(urls), flush=True)
    sys.stdin.read()
"""
SQS = """
import json, os, sys

import boto3
from moto.server import ThreadedMotoServer

key = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
os.environ |= key
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
address = "http://{}:{}".format(*server.get_host_and_port())
account = boto3.client("sqs", endpoint_url=address, region_name="us-east-1")
for name in ("default", "io", "cpu"):
    account.create_queue(QueueName=name)
print(json.dumps(key | {"SQS_QUEUE_URL_PREFIX": f"{address}/123456789012/"}), flush=True)
sys.stdin.read()
"""
# `dev` is for development, and so is what it needs.
IMPORT_ALL = """
import importlib, pkgutil, order_jobs

for module in pkgutil.walk_packages(order_jobs.__path__, "order_jobs."):
    if module.name.partition(".")[2] not in ("dev", "embedded_broker", "__main__"):
        importlib.import_module(module.name)
"""


@pytest.fixture(scope="module")
def project(few_answers: Answers, render: Render) -> Path:
    return render(few_answers)


@pytest.fixture(scope="module")
def found(
    few_answers: Answers,
    project: Path,
    superset: Superset,
    servers: Servers,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, str]]:
    """The variables by which the service finds its servers, which have all packages there are."""
    if few_answers["task_engine"] == "gunicorn":
        jobs = tmp_path_factory.mktemp("jobs")
        yield {"API_KEY": "sixteen-characters", "API_PORT": str(free_port()), "JOBS_DIR": str(jobs)}
        return
    needed = servers.needed_by(few_answers)
    found = {
        "CELERY_" + name.removeprefix("TEST_"): url
        for name, url in needed.items()
        if name != "TEST_DATABASE_URL"
    }
    programs = {"redis": REDIS, "sqs": SQS}
    used = [programs[name] for name in programs if name in few_answers.values()]
    with ExitStack() as running:
        for program in used:
            folder = tmp_path_factory.mktemp("server")
            server = subprocess.Popen(
                [superset.program("python"), "-c", program, folder],
                cwd=project,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            running.callback(server.communicate, timeout=30)
            assert server.stdout
            found = json.loads(server.stdout.readline()) | found
        yield found


class Production:
    """Runs Python with what a project's production environment holds, and nothing else."""

    def __init__(self, project: Path, superset: Superset, found: Mapping[str, str]) -> None:
        self.project = project
        self.python = str(superset.bare_python)
        view = superset.view(requirements(project, groups=False))
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{view}{os.pathsep}{project}",
            "WORKER_CONCURRENCY": "1",
            # Other tests compare what lies in the project's folder.
            "PYTHONDONTWRITEBYTECODE": "1",
            **found,
        }

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [self.python, *arguments],
            cwd=self.project,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str) -> str:
        process = self.start(*arguments)
        printed, _ = process.communicate(timeout=60)
        assert process.returncode == 0, printed
        return printed


@pytest.fixture
def production(project: Path, superset: Superset, found: dict[str, str]) -> Production:
    return Production(project, superset, found)


def test_every_module_can_be_imported(production: Production) -> None:
    production.run("-c", IMPORT_ALL)


def worker_command(answers: Answers) -> list[str]:
    if answers["task_engine"] == "gunicorn":
        return ["gunicorn"]
    pool = ["--pool", "gevent"] if answers["worker_pool"] == "gevent" else []
    return ["celery", "-A", "order_jobs", "worker", *pool]


def test_a_worker_runs_a_job_that_is_submitted(
    few_answers: Answers, production: Production
) -> None:
    worker = production.start("-m", *worker_command(few_answers))
    # A worker that never says so would be waited for until then.
    ending = threading.Timer(60, worker.kill)
    ending.start()
    try:
        production.run("-m", "order_jobs", "submit", "hello.greet", "name=Ada")
        assert worker.stdout
        said = ""
        while "hello.greet" not in said or " succeeded" not in said:
            line = worker.stdout.readline()
            assert line, said
            said += line
    finally:
        ending.cancel()
        worker.terminate()
        worker.communicate(timeout=60)


def test_dev_says_what_it_needs(production: Production) -> None:
    process = production.start("-m", "order_jobs", "dev")
    printed, _ = process.communicate(timeout=60)

    assert process.returncode == 1
    assert printed.startswith(
        "`dev` needs watchfiles, which this environment was installed without"
    )
