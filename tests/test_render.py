"""Each combination renders into exactly its own files, finished, valid, clean and typed."""

import ast
import hashlib
import os
import re
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from combinations import OPTIONS, TEMPLATE, Answers, covering, every, label
from conftest import Render, selected
from environments import Superset, requirements
from packaging.requirements import Requirement
from post_gen_project import ONLY_IF, PACKAGE, unwanted
from test_answers import parse_all

SOURCE = TEMPLATE / "{{cookiecutter.project_slug}}"
# Where conditions are allowed: what puts the blocks together. Everything else comes and goes whole.
WIRING = {
    ".env.example",
    ".github/workflows/ci.yml",
    "README.md",
    "compose.yaml",
    "docs/celery.md",
    "docs/examples.md",
    "pyproject.toml",
    "tests/conftest.py",
    f"{PACKAGE}/celery.py",
    f"{PACKAGE}/dev.py",
    f"{PACKAGE}/schedule.py",
    f"{PACKAGE}/settings.py",
    f"{PACKAGE}/queues.py",
}
# The other file with a tag: it chooses the licence's text.
INCLUDES = {"LICENSE"}
# What an option brings: words that no file may hold without it, and the package it stands on.
TRACES = {
    "include_sqlalchemy": (r"sqlalchemy|alembic|database_url|postgres", "sqlalchemy"),
    "include_aiocache": (r"aiocache|cache_url|cache\.py", "aiocache"),
    "include_flower": (r"flower", "flower"),
    "include_docker": (r"docker|compose", None),
    "include_examples": (r"polars|pillow|smtp|scikit|sklearn|data_dir|workflows\.py", "polars"),
}
BLOCK = re.compile(r"^ *#{% (if|endif|else|elif|include)\b(.*)%}$")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def template_files() -> set[str]:
    return {path.replace("{{cookiecutter.__package_slug}}", PACKAGE) for path in files(SOURCE)}


@pytest.fixture(scope="session")
def lint(request: pytest.FixtureRequest, render: Render, superset: Superset) -> dict[str, str]:
    """What ruff says of each project, from one run over all of them."""
    projects = [render(answers) for answers in selected(request.config)]
    root = os.path.commonpath(projects)
    found: dict[str, str] = {}
    for command in (("check", "--output-format=concise"), ("format", "--check")):
        ruff = [superset.program("ruff"), *command, "--no-cache", "--quiet", root]
        done = subprocess.run(ruff, capture_output=True, text=True, timeout=600)
        assert done.returncode in (0, 1), done.stderr
        for project in projects:
            lines = [line for line in done.stdout.splitlines() if f"{project}/" in line]
            found[str(project)] = found.get(str(project), "") + "\n".join(lines)
    return found


@pytest.fixture(scope="session")
def types(
    request: pytest.FixtureRequest, render: Render, superset: Superset, tmp_path_factory: Any
) -> dict[Path, Future[str]]:
    """What mypy says of each project; those with the same code share one run."""
    executor = ThreadPoolExecutor(os.cpu_count())
    cache = tmp_path_factory.mktemp("mypy")
    runs: dict[str, Future[str]] = {}
    found = {}
    for answers in selected(request.config):
        project = render(answers)
        sources = sorted(path for path in project.rglob("*.py"))
        digest = hashlib.sha256(
            b"".join(
                str(path.relative_to(project)).encode() + path.read_bytes() for path in sources
            )
        ).hexdigest()
        if digest not in runs:
            folder = cache / str(len(runs) % 2)
            runs[digest] = executor.submit(_mypy, superset, project, folder)
        found[project] = runs[digest]
    executor.shutdown(wait=False)
    return found


def _mypy(superset: Superset, project: Path, cache: Path) -> str:
    mypy = [superset.program("mypy"), "--cache-dir", str(cache), "--no-error-summary", "."]
    done = subprocess.run(mypy, cwd=project, capture_output=True, text=True, timeout=900)
    return done.stdout


def test_only_the_chosen_files_exist(project: Path, answers: Answers) -> None:
    left_out = unwanted(answers)
    expected = {
        path for path in template_files() if not left_out & {Path(path), *Path(path).parents}
    }

    assert {path.replace("order_jobs/", f"{PACKAGE}/") for path in files(project)} == expected


@pytest.mark.parametrize("option", TRACES)
def test_an_option_that_is_off_leaves_no_trace(
    project: Path, answers: Answers, option: str
) -> None:
    words = re.compile(TRACES[option][0], re.IGNORECASE)
    traces = {
        path: words.findall(path + (project / path).read_text("utf-8"))
        for path in sorted(files(project))
    }

    assert answers[option] or {path: found for path, found in traces.items() if found} == {}


@pytest.mark.parametrize("option", [name for name, (_, package) in TRACES.items() if package])
def test_a_package_is_declared_for_the_options_that_need_it_only(
    project: Path, answers: Answers, option: str
) -> None:
    names = {Requirement(line).name for line in requirements(project)}

    assert (TRACES[option][1] in names) is answers[option]


def test_every_switch_has_its_traces() -> None:
    assert TRACES.keys() == {name for name in OPTIONS if name.startswith("include_")}


def test_nothing_is_left_unrendered(project: Path) -> None:
    marks = re.compile(r"\{\{ *cookiecutter|\{%|#\{#|cookiecutter\.")
    workflow = re.compile(r"\$\{\{.*?\}\}")
    left = {
        path
        for path in files(project)
        if marks.search(workflow.sub("", (project / path).read_text("utf-8")))
    }

    assert left == set()


def test_every_file_parses(project: Path) -> None:
    parse_all(project)


def test_lint_and_format_have_nothing_to_say(project: Path, lint: dict[str, str]) -> None:
    assert lint[str(project)] == ""


def test_types_are_sound(project: Path, types: dict[Path, Future[str]]) -> None:
    problems = types[project].result(timeout=900)
    if problems:
        pytest.fail(problems, pytrace=False)


def test_each_import_is_of_a_declared_dependency(project: Path, superset: Superset) -> None:
    undeclared = superset.undeclared_imports(project)

    assert undeclared == {}


def test_documents_link_only_to_files_that_exist(project: Path) -> None:
    dead = [
        (document.name, link)
        for document in project.rglob("*.md")
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text("utf-8"))
        if not (document.parent / link).exists()
    ]

    assert dead == []


def test_long_and_short_names_change_no_line_breaks(render: Render, superset: Superset) -> None:
    for slug in ("a", "a" * 40):
        answers: Answers = covering()[0] | {"project_slug": slug, "include_aiocache": True}
        project = str(render(answers))
        for command in (["format", "--check"], ["check"]):
            ruff = [superset.program("ruff"), *command, "--no-cache", project]
            done = subprocess.run(ruff, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stdout


def test_fast_bakes_have_the_bytes_of_plain_ones(render: Render, tmp_path: Path) -> None:
    for answers in covering()[:3]:
        words = [f"{name}={value}" for name, value in answers.items()]
        folder = tmp_path / label(answers)
        config = tmp_path / "config.yaml"
        config.write_text(f"replay_dir: {tmp_path}/replay\ncookiecutters_dir: {tmp_path}/clones\n")
        command = [sys.executable, "-m", "cookiecutter", "--no-input", "--config-file", str(config)]
        subprocess.run([*command, "-o", str(folder), str(TEMPLATE), *words], check=True, timeout=60)
        plain, fast = folder / "order-jobs", render(answers)

        assert files(plain) == files(fast)
        for path in files(plain):
            assert (plain / path).read_bytes() == (fast / path).read_bytes(), path
            assert (plain / path).stat().st_mode == (fast / path).stat().st_mode, path


def test_every_pruned_path_exists_in_the_template() -> None:
    paths = {path for paths in ONLY_IF.values() for path in paths}
    folders = {str(parent) for path in template_files() for parent in Path(path).parents}

    assert paths - template_files() - folders == set()


def test_every_prune_rule_names_an_answer_that_can_be_given() -> None:
    for option, value in ONLY_IF:
        assert value in OPTIONS[option]


def test_the_template_holds_only_files_that_git_knows() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--others", "--directory", SOURCE.name],
        cwd=TEMPLATE,
        capture_output=True,
        text=True,
        check=True,
    )

    assert listed.stdout.split() == [], "a tool left files that would be rendered into projects"


@pytest.mark.parametrize("path", sorted(template_files()))
def test_conditions_are_simple_and_in_wiring_files_only(path: str) -> None:
    source = SOURCE / path.replace(PACKAGE, "{{cookiecutter.__package_slug}}")
    depth = 0
    for line in source.read_text("utf-8").splitlines():
        if "{%" not in line:
            continue
        block = BLOCK.match(line)
        assert block, f"a condition is a line of its own: {line}"
        assert path in (INCLUDES if block[1] == "include" else WIRING), line
        depth += {"if": 1, "endif": -1}.get(block[1], 0)
        assert block[1] in ("if", "endif", "include"), f"a second condition instead: {line}"
        assert 0 <= depth <= 1, f"conditions do not nest: {line}"
    assert depth == 0


@pytest.mark.parametrize("path", [path for path in sorted(template_files()) if PACKAGE in path])
def test_the_package_is_valid_python_unrendered(path: str) -> None:
    source = SOURCE / path.replace(PACKAGE, "{{cookiecutter.__package_slug}}")

    if source.suffix == ".py":
        ast.parse(source.read_text("utf-8"))


def test_the_application_is_read_in_one_go(render: Render) -> None:
    lines = (render(covering()[0]) / "order_jobs/celery.py").read_text().splitlines()

    assert len(lines) < 80


def test_every_combination_is_counted() -> None:
    choosing = [values for name, values in OPTIONS.items() if name.startswith("include_")]

    assert len(every()) == 2 ** len(choosing)
    assert len({label(answers) for answers in every()}) == len(every())


def test_a_few_combinations_cover_all_pairs() -> None:
    few = covering(2)
    names = list(OPTIONS)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            if {first, second} == {"license", "python_version"}:
                continue
            seen = {(answers[first], answers[second]) for answers in few}
            assert len(seen) == len(OPTIONS[first]) * len(OPTIONS[second]), (first, second)
