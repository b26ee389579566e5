"""Refuse bad answers before anything is written; make legal ones safe to write into a file."""

import keyword
import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

from cookiecutter.exceptions import FailedHookException
from jinja2 import Environment
from jinja2.ext import Extension

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


def reserved_names() -> frozenset[str]:
    """Distributions, modules and commands that a rendered project may install."""
    names = Path(__file__).with_name("reserved_names.txt").read_text("utf-8").split()
    # A package of such a name would hide the project's own, or be hidden by its .gitignore.
    own = {path.stem for path in (*TEMPLATE.iterdir(), *(TEMPLATE / "tests").iterdir())}
    ignored = re.findall(
        r"^\.?([\w-]+)", (TEMPLATE / ".gitignore").read_text("utf-8"), re.MULTILINE
    )
    return frozenset(names) | own | frozenset(ignored) | OTHERS


def problems(answers: Mapping[str, object]) -> Iterator[str]:
    """Everything that is wrong with the answers, a message each: field, value, rule, example."""
    for field in TEXTS:
        value = str(answers[field])
        yield from text_problems(field, value)
    yield from _slug_problems(str(answers["project_slug"]))
    email = str(answers["author_email"])
    if email.strip() and not EMAIL.fullmatch(email):
        yield _message("author_email", email, "must be an e-mail address", "ada@example.com")


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


def _message(field: str, value: str, rule: str, example: str) -> str:
    shown = value if len(value) <= 60 else f"{value[:57]}..."
    return f"{field} = {shown!a}: it {rule}. For example: {example}"


def checked(answers: Mapping[str, object]) -> str:
    """Nothing when the answers are good.

    Raises:
        FailedHookException: with every problem, so that cookiecutter prints them and stops.
    """
    found = list(problems(answers))
    if found:
        raise FailedHookException("\n  - ".join(["These answers cannot be rendered:", *found]))
    return ""


def escaped(text: str) -> str:
    """The text as it goes between the double quotes of a TOML, YAML, JSON or Python string.

    With control characters refused, a backslash and a quote are all that these four escape alike.
    """
    return text.replace("\\", "\\\\").replace('"', '\\"')


class Answers(Extension):
    """Give the template the filters `checked` and `escaped`."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        environment.filters |= {"checked": checked, "escaped": escaped}
