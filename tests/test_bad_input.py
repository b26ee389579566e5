"""What cannot be rendered is refused with the reason, and leaves everything as it was."""

import errno
import json
import os
import resource
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import command_line
import cookiecutter.cli
import cookiecutter.generate
import cookiecutter.main
import pytest
from click.testing import CliRunner
from combinations import OPTIONS, QUESTIONS, TEMPLATE
from cookiecutter.exceptions import FailedHookException
from cookiecutter.generate import generate_context
from cookiecutter.prompt import prompt_for_config
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import TemplateSyntaxError
from strategies import ANSWERS, MISTAKES, few

from task_queue_answers import OLDEST_COOKIECUTTER

Refused = Callable[..., str]


def contents(folder: Path) -> dict[Path, bytes | None]:
    """Every path below the folder, with the bytes of the files; not what cookiecutter remembers."""
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if folder / "home" not in (path, *path.parents)
    }


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "target"
    folder.mkdir()
    return folder


@pytest.fixture
def project(target: Path) -> Path:
    """A project where the next one would go."""
    folder = target / "order-jobs"
    (folder / "docs").mkdir(parents=True)
    (folder / "README.md").write_text("mine")
    # The hook deletes this one, where it runs.
    (folder / "docs/cache.md").write_text("mine")
    return folder


@pytest.fixture
def refused(tmp_path: Path, target: Path) -> Refused:
    """Run cookiecutter, which must fail and leave everything as it was; what it printed."""

    def run(*arguments: str, **how: Any) -> str:
        # A slug such as `../evil` would write beside the target.
        before = contents(tmp_path)
        done = command_line.cookiecutter(tmp_path, *arguments, **how)
        assert done.returncode == 1, done.stdout + done.stderr
        assert contents(tmp_path) == before
        return done.stdout + done.stderr

    return run


def test_all_problems_are_told_at_once(refused: Refused) -> None:
    printed = refused("--no-input", "project_slug=Celery", "author_email=nobody", "author_name= ")

    assert [field for field in QUESTIONS if f"- {field} = " in printed] == [
        "project_slug",
        "author_name",
        "author_email",
    ]
    assert "Traceback" not in printed


def test_an_unknown_choice_is_refused_with_the_known_ones(refused: Refused) -> None:
    name, values = next((name, value) for name, value in OPTIONS.items() if True not in value)

    # Cookiecutter itself refuses it, with a traceback above its last line.
    last = refused("--no-input", f"{name}=kafka").splitlines()[-1]

    assert f"kafka provided for choice variable {name}" in last
    assert all(str(value) in last for value in values)


def test_a_yes_or_no_that_is_neither_is_refused(refused: Refused) -> None:
    last = refused("--no-input", "include_flower=maybe").splitlines()[-1]

    assert "maybe provided for variable include_flower could not be converted to a boolean" in last


def test_a_misspelt_question_is_refused_with_the_right_one(refused: Refused) -> None:
    printed = refused("include_flwoer=no")

    assert "'include_flwoer' = 'no': there is no such question" in printed
    assert "Did you mean include_flower?" in printed
    # Not a single question has been asked by then.
    assert "[1/" not in printed


@pytest.mark.parametrize("name", ["colour", "__package_slug"])
def test_a_name_like_no_question_is_refused_with_all_of_them(refused: Refused, name: str) -> None:
    printed = refused("--no-input", f"{name}=blue")

    assert f"The questions are: {', '.join(QUESTIONS)}" in printed


def test_a_folder_that_exists_is_named_and_left_alone(refused: Refused, project: Path) -> None:
    assert f'"{project}" directory already exists' in refused("--no-input")


@pytest.mark.parametrize("bad", ["author_name= ", "license=GPL", "include_flwoer=no"])
def test_an_existing_project_survives_bad_answers(
    refused: Refused, project: Path, bad: str
) -> None:
    assert bad.split("=")[0] in refused("--no-input", "--overwrite-if-exists", bad)


def test_a_folder_that_may_not_be_written_is_named(refused: Refused, target: Path) -> None:
    # Root may write everywhere, unless it has given up the right to.
    anybody = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
    target.chmod(0o555)

    printed = refused("--no-input", command=(*anybody, *command_line.COOKIECUTTER))

    assert f"{target}/order-jobs could not be written: Permission denied" in printed
    assert "choose another folder with --output-dir" in printed
    assert "Traceback" not in printed


def test_a_disk_that_takes_no_more_leaves_nothing(refused: Refused, target: Path) -> None:
    # Below the length of this license, and above that of what comes before it.
    limit = (10_000, 10_000)

    printed = refused(
        "--no-input",
        "license=Apache-2.0",
        first=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
    )

    assert f"{target}/order-jobs could not be written: File too large" in printed
    assert "Make room" in printed
    assert "Traceback" not in printed


FAULTS: dict[str, BaseException] = {
    "full disk": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    "Ctrl-C": KeyboardInterrupt(),
    "mistake in the template": TemplateSyntaxError("oops", 1),
}


@pytest.fixture
def fail_here(tmp_path: Path) -> Callable[..., None]:
    """Run cookiecutter, which must fail, in this process."""

    def run(*arguments: str) -> None:
        given = [*command_line.arguments(tmp_path), "--no-input", *arguments]
        assert CliRunner().invoke(cookiecutter.cli.main, given).exit_code == 1

    return run


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that goes wrong when three files have been written."""
    generate_file, files = cookiecutter.generate.generate_file, iter(range(3))

    def three_files(*arguments: Any) -> None:
        generate_file(*arguments)
        if next(files) == 2:
            raise FAULTS[request.param]

    monkeypatch.setattr(cookiecutter.generate, "generate_file", three_files)


@pytest.mark.usefixtures("fault")
def test_a_run_that_breaks_off_leaves_nothing(fail_here: Callable[..., None], target: Path) -> None:
    fail_here()

    assert contents(target) == {}


@pytest.mark.usefixtures("fault")
def test_a_run_that_breaks_off_removes_no_project_that_was_there_before(
    fail_here: Callable[..., None], project: Path
) -> None:
    fail_here("--overwrite-if-exists")

    assert (project / "docs/cache.md").read_text() == "mine"


@pytest.mark.usefixtures("fault")
def test_an_unfinished_project_is_kept_on_request(
    fail_here: Callable[..., None], target: Path
) -> None:
    fail_here("--keep-project-on-failure")

    assert (target / "order-jobs").exists()


def test_a_folder_that_appears_while_cookiecutter_starts_is_left_alone(
    fail_here: Callable[..., None], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "lexists", lambda path: False)

    fail_here()

    assert (project / "README.md").read_text() == "mine"


def remembered(path: Path, answers: dict[str, Any]) -> str:
    """Write the file that a replay reads, of these answers and the defaults of all others."""
    defaults = generate_context(str(TEMPLATE / "cookiecutter.json"))
    context = prompt_for_config(defaults, no_input=True)
    slug = str(answers.get("project_slug", context["project_slug"]))
    context |= {"__package_slug": slug.replace("-", "_")} | answers
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cookiecutter": context}))
    return str(path)


HAND_EDITED = {
    "unknown choice": ("license", "GPL"),
    "text for yes": ("include_flower", "no"),
    "way out": ("project_slug", "../evil"),
    "folder in a folder": ("project_slug", "a/b"),
    "no text": ("author_name", None),
    "another package": ("__package_slug", "../evil"),
}


@pytest.mark.parametrize(("field", "value"), HAND_EDITED.values(), ids=HAND_EDITED)
def test_replayed_answers_are_checked_too(
    refused: Refused, tmp_path: Path, field: str, value: object
) -> None:
    remembered(tmp_path / "home/replay" / f"{TEMPLATE.name}.json", {field: value})

    printed = refused("--replay")

    assert f"{field} = '{value}'" in printed
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("1.7.3", "Unable to load extension: No module named 'task_queue_answers'"),
        ("2.6.0", f"needs cookiecutter {OLDEST_COOKIECUTTER} or newer, and this is 2.6.0"),
    ],
)
def test_a_cookiecutter_that_is_too_old_is_refused(
    refused: Refused, version: str, words: str
) -> None:
    old = ("uvx", "--quiet", "--from", f"cookiecutter=={version}", "cookiecutter")

    assert words in refused("--no-input", command=old)


def test_a_good_run_keeps_its_project_whatever_click_it_has(tmp_path: Path, target: Path) -> None:
    # Up to 8.1, click ends a good run with an exception.
    package = f"cookiecutter=={OLDEST_COOKIECUTTER}"
    command = ("uvx", "--quiet", "--with", "click<8.2", "--from", package, "cookiecutter")

    command_line.cookiecutter(tmp_path, "--no-input", command=command)

    assert (target / "order-jobs/README.md").exists()


def test_the_oldest_cookiecutter_is_the_one_that_is_declared() -> None:
    metadata = tomllib.loads((TEMPLATE / "pyproject.toml").read_text("utf-8"))["project"]

    assert f"cookiecutter>={OLDEST_COOKIECUTTER},<3" in metadata["dependencies"]


@few
@given(answers=ANSWERS, mistake=MISTAKES, exists=st.booleans(), replayed=st.booleans())
def test_no_mistake_in_any_answers_leaves_or_changes_a_file(
    fast_cookies: Any,
    project: Path,
    tmp_path: Path,
    answers: dict[str, Any],
    mistake: dict[str, Any],
    exists: bool,
    replayed: bool,
) -> None:
    answers |= ({"project_slug": "order-jobs"} if exists else {}) | mistake
    before = contents(tmp_path)

    with pytest.raises((FailedHookException, TemplateSyntaxError, ValueError)):
        cookiecutter.main.cookiecutter(
            str(TEMPLATE),
            overwrite_if_exists=True,
            output_dir=str(project.parent),
            default_config=True,
            **(
                {"replay": remembered(tmp_path / "home/answers.json", answers)}
                if replayed
                else {"no_input": True, "extra_context": answers}
            ),
        )

    assert contents(tmp_path) == before
