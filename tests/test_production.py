"""The service runs with what production installs; no development tool hides a missing package."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from combinations import Answers, covering
from conftest import Render
from environments import Superset, requirements

BROKER = """
import sys
from pathlib import Path
from order_jobs.embedded_broker import running

with running(Path(sys.argv[1])) as broker:
    print(broker.url(0), flush=True)
    sys.stdin.read()
"""
# `dev` is for development, and so is what it needs.
IMPORT_ALL = """
import importlib, pkgutil, order_jobs

for module in pkgutil.walk_packages(order_jobs.__path__, "order_jobs."):
    if module.name not in ("order_jobs.dev", "order_jobs.__main__"):
        importlib.import_module(module.name)
"""


@pytest.fixture(scope="module")
def broker_url(
    render: Render, superset: Superset, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A broker that runs apart, with all packages there are."""
    server = subprocess.Popen(
        [superset.program("python"), "-c", BROKER, tmp_path_factory.mktemp("broker")],
        cwd=render(covering()[0]),
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout
    yield server.stdout.readline().strip()
    server.communicate(timeout=30)


class Production:
    """Runs Python with what a project's production environment holds, and nothing else."""

    def __init__(self, project: Path, superset: Superset, broker_url: str) -> None:
        self.project = project
        self.python = str(superset.bare_python)
        view = superset.view(requirements(project, groups=False))
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{view}{os.pathsep}{project}",
            "CELERY_BROKER_URL": broker_url,
            "WORKER_CONCURRENCY": "1",
            # Other tests compare what lies in the project's folder.
            "PYTHONDONTWRITEBYTECODE": "1",
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
def production(
    few_answers: Answers, render: Render, superset: Superset, broker_url: str
) -> Production:
    return Production(render(few_answers), superset, broker_url)


def test_every_module_can_be_imported(production: Production) -> None:
    production.run("-c", IMPORT_ALL)


def test_a_worker_runs_a_job_that_is_submitted(production: Production) -> None:
    worker = production.start("-m", "celery", "-A", "order_jobs", "worker", "--without-mingle")
    try:
        printed = production.run("-m", "order_jobs", "submit", "hello.greet", "name=Ada")
    finally:
        worker.terminate()
        said, _ = worker.communicate(timeout=60)

    assert '"Hello, Ada!"' in printed, said


def test_dev_says_what_it_needs(render: Render, superset: Superset, broker_url: str) -> None:
    production = Production(render(covering()[0]), superset, broker_url)
    process = production.start("-m", "order_jobs", "dev")
    printed, _ = process.communicate(timeout=60)

    assert process.returncode == 1
    assert printed.startswith(
        "`dev` needs watchfiles, which this environment was installed without"
    )
