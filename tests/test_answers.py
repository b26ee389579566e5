"""Each bad answer has its message; all others render into valid files."""

import ast
import functools
import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from combinations import QUESTIONS, TEMPLATE, Answers
from command_line import cookiecutter
from environments import Superset
from hypothesis import example, given
from strategies import ANSWERS, few

import task_queue_answers

BAD = {
    "blank name": ({"project_name": "  "}, "project_name", "blank"),
    "name without a slug": ({"project_name": "✨"}, "project_slug", "begin with a letter"),
    "upper case": ({"project_slug": "Order-Jobs"}, "project_slug", "lower-case"),
    "leading digit": ({"project_slug": "2fast"}, "project_slug", "begin with a letter"),
    "underscore": ({"project_slug": "order_jobs"}, "project_slug", "single hyphens"),
    "trailing hyphen": ({"project_slug": "order-"}, "project_slug", "not end with a hyphen"),
    "way out": ({"project_slug": "../evil"}, "project_slug", "lower-case"),
    "long slug": ({"project_slug": "a" * 41}, "project_slug", "at most 40"),
    "keyword": ({"project_slug": "class"}, "project_slug", "keyword"),
    "soft keyword": ({"project_slug": "match"}, "project_slug", "keyword"),
    "standard library": ({"project_slug": "json"}, "project_slug", "Python's own"),
    "dependency": ({"project_slug": "celery"}, "project_slug", "taken by a library"),
    "dependency of one": ({"project_slug": "kombu"}, "project_slug", "taken by a library"),
    "module of another name": ({"project_slug": "dateutil"}, "project_slug", "taken by a library"),
    "command": ({"project_slug": "alembic"}, "project_slug", "taken by a library"),
    "own folder": ({"project_slug": "tests"}, "project_slug", "taken by a library"),
    "own module": ({"project_slug": "flowerconfig"}, "project_slug", "taken by a library"),
    "ignored folder": ({"project_slug": "data"}, "project_slug", "taken by a library"),
    "newer Python": ({"project_slug": "compression"}, "project_slug", "taken by a library"),
    "test": ({"project_slug": "test"}, "project_slug", "taken by a library"),
    "line break": ({"author_name": "Ada\nLovelace"}, "author_name", "U+000A"),
    "escape": ({"project_description": "\x1b[31mred"}, "project_description", "U+001B"),
    "reordered text": ({"project_description": "a\u202eb"}, "project_description", "U+202E"),
    "long text": ({"project_description": "x" * 501}, "project_description", "at most 500"),
    "no address": ({"author_email": "ada at home"}, "author_email", "e-mail address"),
    "two addresses": ({"author_email": "a@b.de, c@d.de"}, "author_email", "e-mail address"),
}


@pytest.mark.parametrize(("bad", "field", "rule"), BAD.values(), ids=BAD)
def test_bad_answer_is_refused_by_name_with_an_example(
    fast_cookies: Any, bad: dict[str, str], field: str, rule: str
) -> None:
    message = str(fast_cookies.bake(bad, str(TEMPLATE)).exception)

    assert f"{field} = " in message
    assert rule in message
    assert "For example: " in message


@pytest.fixture
def command_line(tmp_path: Path) -> Any:
    """Cookiecutter as users run it, in an empty folder; what it printed, and what it wrote."""

    def run(*arguments: str, typed: str = "") -> tuple[str, list[str]]:
        done = cookiecutter(tmp_path, *arguments, typed=typed)
        assert done.returncode == 0, done.stdout + done.stderr
        written = sorted(path.name for path in (tmp_path / "target").iterdir())
        return done.stdout + done.stderr, written

    return run


def test_answers_can_be_replayed(command_line: Any, tmp_path: Path) -> None:
    command_line("--no-input", "project_slug=first-jobs")
    (tmp_path / "target" / "first-jobs").rename(tmp_path / "elsewhere")

    _, written = command_line("--replay")

    assert written == ["first-jobs"]


def test_the_last_words_name_the_two_commands_to_type_next(command_line: Any) -> None:
    printed, _ = command_line("--no-input", "project_slug=first-jobs")

    assert re.findall("^    .*", printed, re.MULTILINE) == [
        "    cd first-jobs",
        "    uv run first-jobs dev    # the whole service on this machine; Ctrl-C stops it",
        "    uv run pytest",
    ]


def test_questions_can_be_answered_one_by_one(command_line: Any) -> None:
    answers = {"project_name": "Ada's Jobs", "license": "3", "include_flower": "n"}

    printed, written = command_line(
        typed="".join(f"{answers.get(name, '')}\n" for name in QUESTIONS)
    )

    assert written == ["ada-s-jobs"]
    assert f"[1/{len(QUESTIONS)}] What is the service called? (Order Jobs)" in printed
    assert "1 - MIT (recommended)" in printed


def test_every_question_is_asked_in_words() -> None:
    prompts = json.loads((TEMPLATE / "cookiecutter.json").read_text())["__prompts__"]

    assert prompts.keys() == QUESTIONS.keys()
    for name, default in QUESTIONS.items():
        if isinstance(default, list):
            assert list(prompts[name]) == ["__prompt__", *default]


def test_no_name_is_free_that_a_rendered_project_may_install(superset: Superset) -> None:
    installed = {name for name in superset.names() if re.fullmatch("[a-z][a-z0-9_-]*", name)}
    free = installed - task_queue_answers.reserved_names() - sys.stdlib_module_names

    assert not free, f"add to reserved_names.txt: {' '.join(sorted(free))}"


def odd(name: str, description: str, author: str) -> Answers:
    return {
        "project_name": name,
        "project_slug": "odd-jobs",
        "project_description": description,
        "author_name": author,
    }


@few
@given(answers=ANSWERS)
@example(answers=odd('"""', "'''\\", "# {name} ${HOME} $(id) `id` %s {% x %}"))
@example(answers=odd("{#", ": - [a] & *b ! | > %", "مرحبا 👩‍🚀 \\N{BULLET} \\u0041"))
@example(answers=odd("x" * 500, " leading", "trailing "))
def test_all_possible_answers_render_into_valid_files(fast_cookies: Any, answers: Answers) -> None:
    result = fast_cookies.bake(answers, str(TEMPLATE))

    assert result.exception is None, result.exception
    project = result.project_path
    metadata = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    assert metadata["description"] == answers["project_description"]
    assert metadata["authors"][0]["name"] == answers["author_name"]
    assert str(answers["project_name"]) in (project / "README.md").read_text("utf-8")
    parse_all(project)


def parse_all(project: Path) -> None:
    """Parse every file by its kind. Raises what the parser raises."""
    for path in (path for path in project.rglob("*") if path.is_file()):
        parse(path.suffix, path.read_bytes())


# Most files are the same in most projects.
@functools.cache
def parse(suffix: str, content: bytes) -> None:
    if suffix == ".png":
        assert content.startswith(b"\x89PNG")
        return
    text = content.decode()
    if suffix == ".py":
        ast.parse(text)
    elif suffix == ".toml":
        tomllib.loads(text)
    elif suffix in (".yaml", ".yml"):
        list(yaml.safe_load_all(text))
    elif suffix == ".json":
        json.loads(text)
