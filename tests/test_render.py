"""Each combination renders into exactly its own files, finished, valid, clean and typed."""

import ast
import functools
import itertools
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from combinations import (
    CHOOSING,
    CONTEXT,
    METADATA,
    OPTIONS,
    TEMPLATE,
    Answers,
    Render,
    combined,
    covering,
    every,
    is_possible,
    is_repeated,
    is_wanted,
    label,
)
from conftest import asked_for
from environments import Superset, requirements
from packaging.requirements import Requirement
from post_gen_project import (
    ENGINES,
    IF_ANY,
    ONLY_CELERY,
    ONLY_IF,
    PACKAGE,
    effective,
    unwanted,
)
from test_answers import parse_all
from type_checks import TypeChecks

SOURCE = TEMPLATE / "{{cookiecutter.project_slug}}"
# Where conditions are allowed: what puts the blocks together. Everything else comes and goes whole.
WIRING = {
    ".env.example",
    "Dockerfile",
    ".github/dependabot.yml",
    ".github/workflows/ci.yml",
    "README.md",
    "compose.sqs.yaml",
    "compose.yaml",
    "docs/api.md",
    "docs/celery.md",
    "docs/containers.md",
    "docs/database.md",
    "docs/dead-letters.md",
    "docs/deployment.md",
    "docs/engine.md",
    "docs/examples.md",
    "docs/once-only.md",
    "docs/operations.md",
    "gunicorn.conf.py",
    "monitoring/prometheus.yml",
    "migrations/env.py",
    "pyproject.toml",
    "tests/api_service.py",
    "tests/test_api_store.py",
    "tests/conftest.py",
    "tests/live_service.py",
    "tests/scraping.py",
    "tests/test_dev.py",
    "tests/test_metrics.py",
    "tests/test_stack.py",
    "tests/test_telemetry.py",
    "tests/test_workflows.py",
    f"{PACKAGE}/api/application.py",
    f"{PACKAGE}/api/cancel.py",
    f"{PACKAGE}/api/job.py",
    f"{PACKAGE}/api/jobs.py",
    f"{PACKAGE}/api/offered.py",
    f"{PACKAGE}/api/server.py",
    f"{PACKAGE}/api/service.py",
    f"{PACKAGE}/api/submit.py",
    f"{PACKAGE}/beat.py",
    f"{PACKAGE}/broker.py",
    f"{PACKAGE}/celery.py",
    f"{PACKAGE}/cli.py",
    f"{PACKAGE}/consumer.py",
    f"{PACKAGE}/counted_request.py",
    f"{PACKAGE}/dev.py",
    f"{PACKAGE}/dirty/consumer.py",
    f"{PACKAGE}/dirty/jobs.py",
    f"{PACKAGE}/dirty/server.py",
    f"{PACKAGE}/dirty/workers.py",
    f"{PACKAGE}/gevent_pool.py",
    f"{PACKAGE}/leases.py",
    f"{PACKAGE}/logs.py",
    f"{PACKAGE}/metrics.py",
    f"{PACKAGE}/metrics_server.py",
    f"{PACKAGE}/models.py",
    f"{PACKAGE}/outbox_cli.py",
    f"{PACKAGE}/progress.py",
    f"{PACKAGE}/queues.py",
    f"{PACKAGE}/schedule.py",
    f"{PACKAGE}/settings.py",
    f"{PACKAGE}/stopping.py",
    f"{PACKAGE}/task_metrics.py",
    f"{PACKAGE}/telemetry.py",
    f"{PACKAGE}/workflows.py",
}
# By one line each: which engine's decorator it is.
TASKS = SOURCE / "{{cookiecutter.__package_slug}}" / "tasks"
WIRING |= {f"{PACKAGE}/tasks/{path.name}" for path in TASKS.glob("*.py")}
# The other file with a tag: it chooses the licence's text.
INCLUDES = {"LICENSE"}
# Where other engines, brokers and result backends are named, for whoever thinks of changing to one.
COMPARISONS = {"docs/celery.md", "docs/engine.md"}


RESULTS: list[tuple[str, str | bool]] = [
    ("result_backend", "redis"),
    ("result_backend", "postgres"),
    ("result_backend", "file"),
]
REDIS: list[tuple[str, str | bool]] = [("broker", "redis"), ("result_backend", "redis")]
# Words that no file may hold, and the package that no project may declare, without one of these
# answers.
TRACES: dict[str, tuple[str | None, list[tuple[str, str | bool]]]] = {
    r"kombu|(from|import|-A) celery|celery_(broker_url|result_backend)|\bbeat\b": (
        "celery",
        [("task_engine", "celery")],
    ),
    r"gunicorn|dirty|\bboard": ("gunicorn", [("task_engine", "gunicorn")]),
    "unacked": ("packaging", [("broker", "redis")]),
    "rediss://": (None, REDIS),
    "rabbitmq|quorum": (None, [("broker", "rabbitmq")]),
    "sqs|aws_|boto|moto": ("pycurl", [("broker", "sqs")]),
    "LOOK_EVERY|--no-wait|test_watching": ("rich", RESULTS),
    "gevent|greenlet": ("gevent", [("worker_pool", "gevent")]),
    "alembic|database_url|aiosqlite|outbox": ("alembic", [("include_sqlalchemy", True)]),
    "sqlalchemy|postgres": (
        "sqlalchemy",
        [("include_sqlalchemy", True), ("result_backend", "postgres")],
    ),
    r"aiocache|cache_url|cache\.py": ("aiocache", [("include_aiocache", True)]),
    r"fastapi|uvicorn|api_key|\bapi/(?!v1|worker|tasks)|test_api|api\.md": (
        "fastapi",
        [("include_api", True)],
    ),
    "locks_url|redis_leases": (None, REDIS),
    r"once_only|once-only|(locks|leases)\.py": (None, [*REDIS, ("include_sqlalchemy", True)]),
    "flower": ("flower", [("include_flower", True)]),
    "prometheus|metrics_(port|host)|_metrics|counted_request": (
        "prometheus-client",
        [("include_metrics", True)],
    ),
    "docker|compose": (None, [("include_docker", True)]),
    r"polars|pillow|smtp|scikit|sklearn|data_dir|workflows\.py": (
        "polars",
        [("include_examples", True)],
    ),
}
BLOCK = re.compile(r"^ *#{% (if|endif|else|elif|include)\b(.*)%}$")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def texts(paths: set[str]) -> list[str]:
    return sorted(path for path in paths if not path.endswith(".png"))


def template_files() -> set[str]:
    return {path.replace("{{cookiecutter.__package_slug}}", PACKAGE) for path in files(SOURCE)}


def places() -> set[str]:
    """Where a file of the template may be in a project: an engine's are put in place."""
    return {re.sub(rf"^{ENGINES}/\w+/", "", path) for path in template_files()}


@pytest.fixture(scope="session")
def lint(request: pytest.FixtureRequest, render: Render, superset: Superset) -> dict[str, str]:
    """What ruff says of each project, from one run over all of them."""
    projects = [render(answers) for answers in asked_for(request.session, "answers")]
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
    request: pytest.FixtureRequest,
    render: Render,
    superset: Superset,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[TypeChecks]:
    checks = TypeChecks(superset, tmp_path_factory.mktemp("types"))
    checks.submit(render(answers) for answers in asked_for(request.session, "answers", "types"))
    yield checks
    checks.close()


def test_only_the_chosen_files_exist(project: Path, answers: Answers) -> None:
    own = f"{ENGINES}/{answers['task_engine']}/"
    common = {path for path in template_files() if Path(path).parts[0] != ENGINES.name}
    if answers["task_engine"] != "celery":
        common -= set(ONLY_CELERY)
    brought = {path.removeprefix(own) for path in template_files() if path.startswith(own)}
    left_out = unwanted(effective(answers, CONTEXT["_settled"]))
    expected = {
        path for path in common | brought if not left_out & {Path(path), *Path(path).parents}
    }

    if answers["include_docker"]:
        expected.add(".env")
    assert {path.replace("order_jobs/", f"{PACKAGE}/") for path in files(project)} == expected
    assert [path for path in project.rglob("*") if path.is_dir() and not any(path.iterdir())] == []


@pytest.fixture
def absent(answers: Answers) -> list[str]:
    """The traces of options that are off."""
    known = effective(answers, CONTEXT["_settled"])
    return [
        words
        for words, (_, choices) in TRACES.items()
        if not any(known[option] == value for option, value in choices)
    ]


def test_an_option_that_is_off_leaves_no_trace(project: Path, absent: list[str]) -> None:
    found = {
        path: words
        for path in texts(files(project) - COMPARISONS)
        if (words := traces(path + (project / path).read_text("utf-8")) & set(absent))
    }

    assert found == {}


# Most files are the same in most projects.
@functools.cache
def traces(text: str) -> set[str]:
    return {words for words in TRACES if re.search(words, text, re.IGNORECASE)}


def test_a_package_is_declared_for_the_options_that_need_it_only(
    project: Path, absent: list[str]
) -> None:
    names = {Requirement(line).name for line in requirements(project, groups=False)}

    for words, (package, _) in TRACES.items():
        assert package is None or (package in names) is (words not in absent), package


def test_every_option_has_its_traces() -> None:
    told = {choice for _, choices in TRACES.values() for choice in choices}
    # Each value but the one that brings nothing.
    nothing = {("result_backend", "none"), ("worker_pool", "prefork"), ("worker_pool", "threads")}
    settled = {choice for own in CONTEXT["_settled"].values() for choice in own.items()}

    assert (told | nothing) - settled == {
        (name, value) for name, values in CHOOSING.items() for value in values if value is not False
    }


def test_nothing_is_left_unrendered(project: Path) -> None:
    left = {
        path for path in texts(files(project)) if is_unrendered((project / path).read_text("utf-8"))
    }

    assert left == set()


@functools.cache
def is_unrendered(text: str) -> bool:
    without_workflow_expressions = re.sub(r"\$\{\{.*?\}\}", "", text)
    marks = r"\{\{ *cookiecutter|\{%|#\{#|cookiecutter\."
    return bool(re.search(marks, without_workflow_expressions))


def test_every_file_parses(project: Path) -> None:
    parse_all(project)


def test_lint_and_format_have_nothing_to_say(project: Path, lint: dict[str, str]) -> None:
    assert lint[str(project)] == ""


def test_types_are_sound(project: Path, types: TypeChecks) -> None:
    if problems := types.problems(project):
        pytest.fail(problems, pytrace=False)


def test_a_wrong_type_is_told_of_its_project_alone(
    render: Render, types: TypeChecks, tmp_path: Path
) -> None:
    wrong = "from order_jobs.tasks import hello\nimport test_cli\n\nx: int = hello.greet('')\n"
    places = {"right": "README.md", "job": "order_jobs/jobs/more.py", "test": "tests/test_more.py"}
    projects = {name: tmp_path / name for name in places}
    for name, path in places.items():
        shutil.copytree(render(covering()[0]), projects[name])
        (projects[name] / path).write_text(wrong)
    types.submit(projects.values())

    told = {name: types.problems(project) for name, project in projects.items()}
    assert told["right"] == ""
    assert told["job"].startswith(f"{places['job']}:4: error: Incompatible types")
    assert told["test"].startswith(f"{places['test']}:4: error: Incompatible types")


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
        # Secrets are made for each project.
        for path in files(plain) - {".env"}:
            assert (plain / path).read_bytes() == (fast / path).read_bytes(), path
            assert (plain / path).stat().st_mode == (fast / path).stat().st_mode, path


def test_every_pruned_path_exists_in_the_template() -> None:
    paths = {path for paths in (*ONLY_IF.values(), *IF_ANY.values()) for path in paths}
    paths |= set(ONLY_CELERY)
    folders = {str(parent) for path in places() for parent in Path(path).parents}

    assert paths - places() - folders == set()


def test_every_prune_rule_names_an_answer_that_can_be_given() -> None:
    for option, values in ONLY_IF:
        settled = {own[option] for own in CONTEXT["_settled"].values() if option in own}
        assert set(values) < {*OPTIONS[option], *settled}
    for option, value in itertools.chain(*IF_ANY):
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


@pytest.mark.parametrize("path", texts(template_files()))
def test_conditions_are_simple_and_in_wiring_files_only(path: str) -> None:
    source = SOURCE / path.replace(PACKAGE, "{{cookiecutter.__package_slug}}")
    depth = 0
    for line in source.read_text("utf-8").splitlines():
        if "{%" not in line:
            continue
        block = BLOCK.match(line)
        assert block, f"a condition is a line of its own: {line}"
        kind = path.removeprefix(f"{ENGINES}/gunicorn/")
        assert kind in (INCLUDES if block[1] == "include" else WIRING), line
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

    assert len(lines) < 100


def test_every_combination_is_counted() -> None:
    refused = sum(not is_possible(answers) for answers in combined())
    repeated = sum(is_possible(answers) and is_repeated(answers) for answers in combined())

    combinations = math.prod(len(values) for values in CHOOSING.values())
    assert len(every()) + refused + repeated == combinations
    assert len({label(answers) for answers in every()}) == len(every())


def test_combinations_that_are_impossible_are_refused_with_the_reason(fast_cookies: Any) -> None:
    for answers in combined():
        if not is_possible(answers):
            refusal = str(fast_cookies.bake(answers, str(TEMPLATE)).exception)
            assert any(rule["because"] in refusal for rule in CONTEXT["_impossible"]), answers


def test_what_an_engine_settles_itself_may_be_answered_as_one_likes(render: Render) -> None:
    for engine, settled in CONTEXT["_settled"].items():
        answers: Answers = covering()[0] | {"task_engine": engine}
        for name in settled:
            for value in OPTIONS[name]:
                other = render(answers | {name: value})
                assert files(other) == files(render(answers))
                for path in files(other) - {".env"}:
                    same = (render(answers) / path).read_bytes()
                    assert (other / path).read_bytes() == same, f"{path} with {name}={value}"


def test_a_few_combinations_cover_all_pairs() -> None:
    few = covering(2)
    for first, second in itertools.combinations(OPTIONS, 2):
        if {first, second} == set(METADATA):
            continue
        pairs = itertools.product(OPTIONS[first], OPTIONS[second])
        possible = {
            pair for pair in pairs if is_wanted(dict(zip((first, second), pair, strict=True)))
        }

        assert {(answers[first], answers[second]) for answers in few} == possible
