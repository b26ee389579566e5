"""This repository keeps its word: its commands, its demonstration, its documents."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mutants
import pytest
import yaml
from chaos import PAIRS, answers_for, faults, read
from combinations import CONTEXT, METADATA, OPTIONS, QUESTIONS, TEMPLATE, Render, covering
from command_line import interrupted
from environments import Superset

TIMEOUT = 400


def processes_of(folder: str) -> list[str]:
    """Command lines of processes that work in a folder of this name."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if folder in os.readlink(process / "cwd"):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment for the demonstration, which must leave neither file nor process in it."""
    yield {**os.environ, "TMPDIR": str(tmp_path)}
    assert list(tmp_path.glob("demo-*")) == []
    assert processes_of(str(tmp_path)) == []


def test_demo_shows_every_example_at_work_whatever_the_environment_says(
    scratch: dict[str, str], tmp_path: Path
) -> None:
    elsewhere = {"CELERY_BROKER_URL": "redis://127.0.0.1:1/0", "SMTP_URL": "smtp://127.0.0.1:1"}
    done = subprocess.run(
        ["uv", "run", "demo", "--keep", tmp_path / "kept"],
        cwd=TEMPLATE,
        env=scratch | elsewhere,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )

    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    for task in ("email.send", "email.send_bulk", "images.thumbnails", "etl.run", "training.fit"):
        assert f"{task}: " in done.stdout
    assert "success after a retry" in done.stdout
    assert "failure" in done.stdout
    assert (tmp_path / "kept/order-jobs/pyproject.toml").exists()


def test_demo_that_is_interrupted_leaves_nothing(scratch: dict[str, str]) -> None:
    assert interrupted(["uv", "run", "demo"], "3. Submit", scratch, TIMEOUT) == 130


def test_the_options_page_describes_each_question_and_no_other() -> None:
    page = (TEMPLATE / "docs/options.md").read_text("utf-8")
    described = re.findall("`(.*?)`", "".join(re.findall("^## .*$", page, re.MULTILINE)))

    assert described == list(QUESTIONS)


def test_the_options_page_tells_what_is_refused_and_why() -> None:
    page = (TEMPLATE / "docs/options.md").read_text("utf-8")
    told = re.findall(r"^\| (`.*`) \| (.*) \|$", page, re.MULTILINE)
    refused = []
    for rule in CONTEXT["_impossible"]:
        pair = [
            f"`{field}={ {True: 'yes', False: 'no'}.get(value, value) }`"
            for field, value in rule.items()
            if field != "because"
        ]
        refused.append((" and ".join(pair), rule["because"]))

    assert told == refused


def test_the_example_file_lists_each_setting_with_its_default(
    render: Render, superset: Superset
) -> None:
    for answers in covering():
        project = render(answers)
        example = (project / ".env.example").read_text()
        listed = dict(re.findall(r"^#([A-Z_]+)=(.*)$", example, re.MULTILINE))
        program = (
            "from order_jobs.settings import Settings as S; import json; "
            "show = lambda v: str(v).lower() if isinstance(v, bool) else str(v or ''); "
            "print(json.dumps({k.upper(): show(v) for k, v in S(_env_file=None)}))"
        )
        defaults = json.loads(
            subprocess.check_output(
                [superset.program("python"), "-c", program],
                cwd=project,
                env={"PYTHONDONTWRITEBYTECODE": "1"},
                timeout=60,
            )
        )

        files = [project / "compose.yaml", project / "monitoring/compose.yaml"]
        text = "".join(file.read_text() for file in files if file.exists())
        variables = re.findall(r"\$\{(\w+)(?::-([^}]*)|:\?[^}]*|-)\}", text)
        assert listed == dict(variables) | defaults


SCHEMAS = {
    "compose.yaml": "vendor.compose-spec",
    "compose.sqs.yaml": "vendor.compose-spec",
    ".github/workflows/ci.yml": "vendor.github-workflows",
    ".github/dependabot.yml": "vendor.dependabot",
}


def distinct(render: Render, name: str) -> list[Path]:
    """The file of this repository and of projects, each content once."""
    written = [folder / name for folder in (TEMPLATE, *map(render, covering()))]
    return list({path.read_bytes(): path for path in written if path.exists()}.values())


@pytest.mark.parametrize("name", SCHEMAS)
def test_files_for_other_programs_have_their_shape(render: Render, name: str) -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS[name]]
    done = subprocess.run(
        [*check, *distinct(render, name)], capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", [name for name in SCHEMAS if ".github" in name])
def test_workflows_give_nothing_away(render: Render, name: str) -> None:
    check = [str(Path(sys.executable).with_name("zizmor")), "--offline", "--quiet"]
    done = subprocess.run(
        [*check, *distinct(render, name)], capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stdout


def test_images_are_made_as_their_checker_wants_it(render: Render) -> None:
    check = str(Path(sys.executable).with_name("hadolint"))
    done = subprocess.run(
        [check, *distinct(render, "Dockerfile")], capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stdout


def test_a_project_tests_with_the_servers_that_its_workflow_starts(render: Render) -> None:
    for answers in covering():
        project = render(answers)
        workflow = yaml.safe_load((project / ".github/workflows/ci.yml").read_text())
        wanted = {
            variable
            for path in (project / "tests").glob("*.py")
            for variable in re.findall(r'"(TEST_[A-Z_]+)"', path.read_text())
        }

        assert workflow["jobs"]["test"].get("env", {}).keys() == wanted


def test_compose_depends_only_on_services_that_exist(render: Render) -> None:
    for answers in covering():
        path = render(answers) / "compose.yaml"
        if not path.exists():
            continue
        compose: dict[str, Any] = yaml.safe_load(path.read_text())
        for service in compose["services"].values():
            assert set(service.get("depends_on", ())) <= compose["services"].keys()


def test_a_container_is_killed_only_after_its_worker_has_given_back_its_tasks(
    render: Render,
) -> None:
    project = render(covering()[0])
    compose = yaml.safe_load((project / "compose.yaml").read_text())
    example = (project / ".env.example").read_text()
    (patience,) = re.findall(r"^#SHUTDOWN_TIMEOUT=(\S+)$", example, re.MULTILINE)

    grace = re.fullmatch(r"\$\{\w+:-(\d+)s\}", compose["services"]["worker"]["stop_grace_period"])
    assert grace
    assert int(grace[1]) >= float(patience) + 10


@pytest.mark.parametrize("command", [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]])
def test_our_own_code_is_clean(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=TEMPLATE, capture_output=True, text=True, timeout=600
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_no_lock_file_is_committed() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=TEMPLATE, capture_output=True, text=True, check=True
    ).stdout.split("\n")

    assert [path for path in listed if re.search(r"uv\.lock|pylock|package-lock", path)] == []


def test_metadata_options_choose_no_files_and_no_code() -> None:
    source = TEMPLATE / "{{cookiecutter.project_slug}}"
    conditions = [
        line
        for path in source.rglob("*")
        if path.is_file() and path.suffix != ".png"
        for line in path.read_text("utf-8").splitlines()
        if line.lstrip().startswith("#{% if")
    ]

    assert set(METADATA) <= OPTIONS.keys()
    assert not [line for line in conditions if any(name in line for name in METADATA)]


def test_the_type_checker_finds_a_wrong_argument_of_a_task(
    render: Render, superset: Superset, tmp_path: Path
) -> None:
    project = render(covering()[0])
    (tmp_path / "wrong.py").write_text(
        "from order_jobs.tasks.hello import greet\n\ngreet.delay('Ada')\ngreet.delay(7)\n"
    )
    done = subprocess.run(
        [
            superset.program("mypy"),
            "--strict",
            "--cache-dir",
            str(tmp_path),
            str(tmp_path / "wrong.py"),
        ],
        cwd=project,
        env={**os.environ, "MYPYPATH": str(project)},
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert re.findall(r"wrong\.py:(\d+): error: .*\[(.*)\]", done.stdout) == [("4", "arg-type")]


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_the_page_of_what_breaks_tells_that_no_fault_lost_a_task(
    pair: tuple[str, str], render: Render
) -> None:
    told = read()[pair]

    assert told.keys() == faults(render(answers_for(*pair))).keys()
    assert {fault: cell for fault, cell in told.items() if not cell.startswith("0 / ")} == {}


def test_every_project_says_which_python_it_needs(render: Render) -> None:
    project = render(covering()[0])
    metadata = tomllib.loads((project / "pyproject.toml").read_text())["project"]

    assert metadata["requires-python"] == ">=3.11"


def test_each_typical_fault_can_still_be_planted() -> None:
    faults = mutants.read()
    lost = [
        fault.name
        for fault in faults
        if fault.path(TEMPLATE).read_text("utf-8").count(fault.old) != 1
    ]

    assert lost == []
