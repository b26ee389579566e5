"""The containers of rendered projects do what their documents say, on a real engine."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from combinations import Answers, Render, covering
from conftest import in_containers
from environments import Superset
from test_documents import Reader

# Seconds for the tests of one project: its image is built, and every container is restarted.
TIMEOUT = 900


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "info"], capture_output=True).returncode:
        reason = "Docker Engine must run for these tests"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


def test_containers_do_their_work_and_lose_no_task(
    contained_answers: Answers, render: Render, superset: Superset, tmp_path: Path
) -> None:
    project = shutil.copytree(render(contained_answers), tmp_path / "order-jobs")
    done = subprocess.run(
        [superset.program("python"), "-m", "pytest", "-m", "stack", "--tb=short", "-rs"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )

    assert done.returncode == 0, done.stdout[-10_000:]
    # A skipped test proves nothing.
    assert re.search(r"=+ \d+ passed, \d+ deselected in", done.stdout), done.stdout[-3000:]


def test_each_block_of_the_document_works_as_typed(render: Render, tmp_path: Path) -> None:
    # The secrets that were made at the render are part of it.
    project = shutil.copytree(render(in_containers(covering()[0])), tmp_path / "as-typed")
    reader = Reader(project)
    ports = {"FLOWER_PORT": "0", "PROMETHEUS_PORT": "0"}
    reader.environment |= ports | {"COMPOSE_PROJECT_NAME": "as-typed"}
    try:
        for block in reader.blocks(project / "docs/containers.md"):
            reader.follow(block)
    finally:
        compose = ["docker", "compose", "--profile", "monitoring"]
        reader.run([*compose, "down", "--volumes", "--timeout", "1"])


def test_an_image_is_the_same_with_a_lock_file_and_refuses_a_wrong_one(
    render: Render, tmp_path: Path
) -> None:
    project = shutil.copytree(render(in_containers(covering()[0])), tmp_path / "locked")
    reader = Reader(project)
    reader.run(["uv", "lock"])
    reader.run(["docker", "build", "--target", "build", "."])
    declared = project / "pyproject.toml"
    declared.write_text(declared.read_text().replace('"celery', '"colorama", "celery'))
    with pytest.raises(AssertionError, match="needs to be updated"):
        reader.run(["docker", "build", "--target", "build", "."])
