"""Refuse bad answers before anything is written; make legal ones safe to write into a file."""

import difflib
import json
import keyword
import os
import re
import runpy
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import cookiecutter
from cookiecutter.cli import main as command_line
from cookiecutter.exceptions import FailedHookException
from cookiecutter.utils import rmtree
from jinja2 import Environment
from jinja2.ext import Extension

# pyproject.toml asks for the same; older ones are not tested.
OLDEST_COOKIECUTTER = "2.7.1"
TEXTS = ("project_name", "project_slug", "project_description", "author_name", "author_email")
LONGEST_TEXT = 500
# With the package's name in it, an import line must still fit the 100 columns that ruff allows.
LONGEST_SLUG = 40
# They reorder what a reader sees, so that code can look like something it is not (CVE-2021-42574).
BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
EMAIL = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w-]+(\.[\w-]+)+", re.ASCII)
# Category -> what it is called in the message.
FORBIDDEN_CATEGORIES = {
    "Cc": "a control character",
    "Cs": "half of a surrogate pair",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
}
# Cookiecutter renders answers itself when it replays them or `cruft` updates a project.
TEMPLATE_MARKS = ("{{", "}}", "#{%", "#{#")
# Commands that come with Python and uv, and modules of Pythons newer than the one that runs this.
OTHERS = frozenset(
    {"annotationlib", "compression", "pip", "python", "python3", "site", "test", "uv", "uvx"}
)
TEMPLATE = Path(__file__).parent / "{{cookiecutter.project_slug}}"


def questions() -> dict[str, object]:
    """Each question with its default, or with the list of its possible answers."""
    context = json.loads(Path(__file__).with_name("cookiecutter.json").read_text("utf-8"))
    return {name: default for name, default in context.items() if not name.startswith("_")}


def reserved_names() -> frozenset[str]:
    """Distributions, modules and commands that a rendered project may install."""
    names = Path(__file__).with_name("reserved_names.txt").read_text("utf-8").split()
    # A package of such a name would hide the project's own, or be hidden by its .gitignore.
    own = {path.stem for path in (*TEMPLATE.iterdir(), *(TEMPLATE / "tests").iterdir())}
    ignored = re.findall(
        r"^\.?([\w-]+)", (TEMPLATE / ".gitignore").read_text("utf-8"), re.MULTILINE
    )
    return frozenset(names) | own | frozenset(ignored) | OTHERS


def problems(answers: Mapping[str, Any]) -> Iterator[str]:
    """Everything that is wrong with the answers, a message each: field, value, rule, example."""
    for field in TEXTS:
        value = answers[field]
        if isinstance(value, str):
            yield from text_problems(field, value)
        else:
            yield _message(field, value, "must be text", "plain text on one line")
    yield from _option_problems(answers)
    slug = str(answers["project_slug"])
    yield from _slug_problems(slug)
    package = slug.replace("-", "_")
    if answers["__package_slug"] != package:
        yield _message("__package_slug", answers["__package_slug"], "follows the slug", package)
    email = str(answers["author_email"])
    if email.strip() and not EMAIL.fullmatch(email):
        yield _message("author_email", email, "must be an e-mail address", "ada@example.com")
    yield from impossible(answers)


def impossible(answers: Mapping[str, Any]) -> Iterator[str]:
    """Why answers that are good alone cannot be given together, a message for each reason.

    The tables are `_impossible` in cookiecutter.json, and `_settled`: what an engine brings itself
    cannot be answered wrongly.
    """
    answers = {**answers, **answers["_settled"].get(answers["task_engine"], {})}
    for rule in answers["_impossible"]:
        together = {field: value for field, value in rule.items() if field != "because"}
        if all(answers[field] == value for field, value in together.items()):
            pair = " and ".join(f"{field} = {value}" for field, value in together.items())
            yield f"{pair}: {rule['because']}. Change one of them."


def _option_problems(answers: Mapping[str, Any]) -> Iterator[str]:
    for field, default in questions().items():
        allowed = [True, False] if isinstance(default, bool) else default
        if isinstance(allowed, list) and answers[field] not in allowed:
            rule = f"must be one of {', '.join(map(str, allowed))}"
            yield _message(field, answers[field], rule, str(allowed[0]))


def text_problems(field: str, value: str) -> Iterator[str]:
    example = "Order Jobs" if field == "project_name" else "plain text on one line"
    if not value.strip():
        yield _message(field, value, "must not be empty or blank", example)
    if len(value) > LONGEST_TEXT:
        rule = f"must have at most {LONGEST_TEXT} characters, this one has {len(value)}"
        yield _message(field, value, rule, example)
    for character in sorted(set(value)):
        what = FORBIDDEN_CATEGORIES.get(unicodedata.category(character))
        if character in BIDI_CONTROLS:
            what = "a character that reorders text"
        if ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF:
            what = "which is no character"
        if what:
            rule = f"must not contain U+{ord(character):04X}, {what}"
            yield _message(field, value, rule, example)
    for mark in TEMPLATE_MARKS:
        if mark in value:
            rule = f"must not contain {mark}, which the template engine would run"
            yield _message(field, value, rule, example)


def _slug_problems(slug: str) -> Iterator[str]:
    example = "order-jobs"
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", slug):
        rule = (
            "must be lower-case letters, digits and single hyphens, "
            "begin with a letter and not end with a hyphen"
        )
        yield _message("project_slug", slug, rule, example)
    if len(slug) > LONGEST_SLUG:
        rule = f"must have at most {LONGEST_SLUG} characters, this one has {len(slug)}"
        yield _message("project_slug", slug, rule, example)

    package = slug.replace("-", "_")
    example = f"{slug}-jobs"
    if keyword.iskeyword(package) or keyword.issoftkeyword(package):
        rule = f"would name the package {package}, which is a Python keyword"
        yield _message("project_slug", slug, rule, example)
    elif package in sys.stdlib_module_names:
        rule = f"would name the package {package}, which is a module of Python's own"
        yield _message("project_slug", slug, rule, example)
    elif {slug, package} & reserved_names():
        rule = "is taken by a library, a command or a folder that the service itself uses"
        yield _message("project_slug", slug, rule, example)


def _message(field: str, value: object, rule: str, example: str) -> str:
    shown = str(value) if len(str(value)) <= 60 else f"{str(value)[:57]}..."
    return f"{field} = {shown!a}: it {rule}. For example: {example}"


def unknown(typed: Mapping[str, str]) -> Iterator[str]:
    """A message for each name on the command line that is no question's.

    Cookiecutter ignores it, so that a slip of the keyboard would render the default.
    """
    names = list(questions())
    for name, value in typed.items():
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"The questions are: {', '.join(names)}"
            yield f"{name!a} = {value!a}: there is no such question. {hint}"


def refuse(found: Iterator[str]) -> None:
    """Raise with every problem there is, so that cookiecutter prints them and stops."""
    if listed := list(found):
        raise FailedHookException("\n  - ".join(["These answers cannot be rendered:", *listed]))


def checked(answers: Mapping[str, Any]) -> str:
    """Nothing when the answers are good.

    Raises:
        FailedHookException: with every problem.
    """
    refuse(problems(answers))
    return ""


def started(answers: Mapping[str, Any]) -> str:
    """Check once more; from here on, a run that breaks off takes its project with it."""
    checked(answers)
    run = cookiecutter_run()
    if run and not run.params["keep_project_on_failure"]:
        folder = Path(run.params["output_dir"], answers["project_slug"]).absolute()
        # Path.exists would raise where it may not look.
        if not os.path.lexists(folder):
            run.call_on_close(lambda: _remove_unfinished(folder))
    return ""


def cookiecutter_run() -> click.Context | None:
    """What the user typed, if the program is cookiecutter and not one that imports it."""
    run = click.get_current_context(silent=True)
    return run if run and run.command is command_line else None


def _remove_unfinished(folder: Path) -> None:
    """Remove a project that a full disk, Ctrl-C or a mistake in the template left half-written.

    Raises:
        click.ClickException: what the operating system refused, without a traceback.
    """
    error = sys.exc_info()[1]
    # Exit is the end of a good run. Before SystemExit, cookiecutter has removed what it made; the
    # folder could be somebody else's by now.
    if error is None or isinstance(error, click.exceptions.Exit | SystemExit):
        return
    if folder.is_dir():
        rmtree(folder)
    if isinstance(error, OSError):
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
        raise click.ClickException(
            f"{folder} could not be written: {cause.strerror}. Nothing of it is left behind. "
            "Make room, or choose another folder with --output-dir."
        ) from None


def escaped(text: str) -> str:
    """The text as it goes between the double quotes of a TOML, YAML, JSON or Python string.

    With control characters refused, a backslash and a quote are all that these four escape alike.
    """
    return text.replace("\\", "\\\\").replace('"', '\\"')


FILTERS = {"checked": checked, "started": started, "escaped": escaped}


class Answers(Extension):
    """Give the template its filters, and check the answers before the first folder."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        if _numbers(cookiecutter.__version__) < _numbers(OLDEST_COOKIECUTTER):
            raise FailedHookException(
                f"This template needs cookiecutter {OLDEST_COOKIECUTTER} or newer, and this is "
                f"{cookiecutter.__version__}. Run it as: uvx cookiecutter@latest"
            )
        if run := cookiecutter_run():
            refuse(unknown(run.params["extra_context"] or {}))
        # `cruft update` renders an old and a new template in one process, which imports this module
        # only once. Read again, it gives each of them its own filters.
        environment.filters |= runpy.run_path(__file__)["FILTERS"]

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """Put `started` before the name of the project's folder, which is rendered first of all.

        Answers that are replayed are not asked for, so nothing has checked them, and a hook would
        run when the folder exists.
        """
        return "{{ cookiecutter | started }}" + source if source == TEMPLATE.name else source


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]
