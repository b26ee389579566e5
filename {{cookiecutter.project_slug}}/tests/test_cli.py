"""`submit`: what is typed becomes a task's arguments, or is refused before anything is sent."""

import inspect
import re
from typing import Any, Literal

import pytest
from typer.testing import CliRunner

from {{ cookiecutter.__package_slug }} import cli
from {{ cookiecutter.__package_slug }}.arguments import keywords, typed


def submit(*arguments: str) -> tuple[int, str, str]:
    """Status, standard output and standard error."""
    result = CliRunner().invoke(cli.app, ["submit", *arguments], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (str, "Ada Lovelace", "Ada Lovelace"),
        (str, "a=b", "a=b"),
        (str, "1.10", "1.10"),
        (str, "null", "null"),
        (int, "12", 12),
        (float, "1.5", 1.5),
        (bool, "true", True),
        (str | None, "null", None),
        (str | None, "2026-11-20", "2026-11-20"),
        (list[str], '["Ada", "Grace"]', ["Ada", "Grace"]),
        (dict[str, float], '{"first": 1.5}', {"first": 1.5}),
        (Literal["sum", "mean"], "sum", "sum"),
    ],
)
def test_a_value_has_the_type_of_its_parameter(kind: Any, text: str, value: object) -> None:
    assert typed(kind, text) == value


@pytest.mark.parametrize(
    ("kind", "text"), [(int, "x"), (list[str], "Ada"), (Literal["sum", "mean"], "max")]
)
def test_a_value_of_another_type_is_no_value(kind: Any, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text)):
        typed(kind, text)


def test_a_task_without_types_takes_json_or_else_text() -> None:
    def job(name, **more):  # type: ignore[no-untyped-def]
        """Says nothing about what it takes."""

    texts = ["name=Ada", "count=2", 'friends=["Grace"]']
    found = keywords("job", inspect.signature(job), texts)

    assert found == {"name": "Ada", "count": 2, "friends": ["Grace"]}


def test_an_argument_that_is_given_twice_is_refused() -> None:
    status, output, _ = submit("hello.greet", "name=Ada", "name=Grace")

    assert status == 1
    assert "name is given twice" in output


def test_an_unknown_task_is_answered_with_those_that_exist() -> None:
    status, output, _ = submit("hello.great", "name=Ada")

    assert status == 1
    assert "There is no task 'hello.great'." in output
    assert "\n  hello.greet\n" in output
    assert "celery." not in output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nom=Ada"], "missing a required argument: 'name'"),
        ([], "missing a required argument: 'name'"),
        (["name=Ada", "age=36"], "got an unexpected keyword argument 'age'"),
    ],
)
def test_arguments_that_do_not_fit_are_answered_with_those_that_do(
    arguments: list[str], reason: str
) -> None:
    status, output, errors = submit("hello.greet", *arguments)

    assert status == 1
    assert "hello.greet(name: str)" in output
    assert reason in output
    assert "submitted" not in errors


def test_an_argument_without_a_name_is_answered_with_an_example() -> None:
    status, output, _ = submit("hello.greet", "Ada")

    assert status == 1
    assert "'Ada' is no argument: write name=value" in output
