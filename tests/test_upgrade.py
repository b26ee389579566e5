"""A project takes over later changes of the template, and keeps what its users have written."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from combinations import TEMPLATE

FOLDER = "{{cookiecutter.project_slug}}"
PACKAGE = f"{FOLDER}/{{{{cookiecutter.__package_slug}}}}"
# Without `site`, nothing but the repository of the test can provide the template's own extension.
PYTHON = (sys.executable, "-S", "-m")
COOKIECUTTER = (*PYTHON, "cookiecutter")
CRUFT = (*PYTHON, "cruft")

Run = Callable[..., str]
Edit = tuple[str, str]


def changed(path: Path, edit: Edit) -> None:
    text = path.read_text("utf-8")
    assert edit[0] in text, f"{path} no longer has what this test changes: {edit[0]}"
    path.write_text(text.replace(*edit, 1), "utf-8")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a command as a user who has a name and nothing else configured; what it printed."""
    home = tmp_path_factory.mktemp("home")
    (home / ".gitconfig").write_text("[user]\nname = Ada\nemail = ada@example.com\n")
    environment = os.environ | {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONPATH": sysconfig.get_path("purelib"),
    }

    def in_folder(folder: Path, *command: str, code: int = 0) -> str:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == code, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    return in_folder


def commit(run: Run, folder: Path) -> None:
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "--message", "All of it")


@pytest.fixture(scope="module")
def template(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the template as it is now, tagged `old`, and with changes upon it."""
    folder = tmp_path_factory.mktemp("published") / "template"
    listed = run(TEMPLATE, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(lambda name: (TEMPLATE / name).is_file(), listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TEMPLATE / name, folder / name)
    run(folder, "git", "init", "--quiet")
    commit(run, folder)
    run(folder, "git", "tag", "old")

    changed(folder / PACKAGE / "jobs/hello.py", ("Hello, ", "Good morning, "))
    changed(folder / FOLDER / "docs/celery.md", ("# ", "# News about "))
    changed(folder / PACKAGE / "cache.py", ('"""', '"""News about '))
    (folder / FOLDER / "docs/news.md").write_text("{{ cookiecutter.project_name | shouted }}\n")
    changed(folder / "task_queue_answers.py", ("FILTERS = {", 'FILTERS = {"shouted": str.upper, '))
    (folder / FOLDER / ".pre-commit-config.yaml").unlink()
    questions = json.loads((folder / "cookiecutter.json").read_text("utf-8"))
    with_news = json.dumps({"include_news": True} | questions)
    (folder / "cookiecutter.json").write_text(with_news, "utf-8")
    commit(run, folder)
    return folder


@pytest.fixture(scope="module")
def created(run: Run, template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of the old template, in a repository of its own."""
    folder = tmp_path_factory.mktemp("created")
    run(folder, *CRUFT, "create", "--no-input", "--checkout", "old", str(template))
    project = folder / "order-jobs"
    run(project, "git", "init", "--quiet")
    commit(run, project)
    return project


@pytest.fixture
def project(created: Path, tmp_path: Path) -> Path:
    """A copy of the project for one test."""
    return shutil.copytree(created, tmp_path / "order-jobs")


MINE = '''"""A job of my own."""


def shout(name: str) -> str:
    return f"HELLO, {name}!"
'''


@pytest.fixture(scope="module")
def updated(run: Run, created: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has been worked on, and updated to the template's changes."""
    project = shutil.copytree(created, tmp_path_factory.mktemp("updated") / "order-jobs")
    (project / "order_jobs/jobs/shout.py").write_text(MINE)
    changed(project / "order_jobs/jobs/hello.py", ("The smallest job there is.", "Mine now."))
    changed(project / "README.md", ("\n", "\n\nWe run it on two machines.\n"))
    commit(run, project)
    run(project, *CRUFT, "update", "--skip-apply-ask")
    return project


def test_a_new_project_is_up_to_date_and_does_not_differ(
    run: Run, template: Path, tmp_path: Path
) -> None:
    run(tmp_path, *CRUFT, "create", "--no-input", str(template))

    assert "up to date" in run(tmp_path / "order-jobs", *CRUFT, "check")
    assert run(tmp_path / "order-jobs", *CRUFT, "diff") == ""


def test_a_project_hears_that_the_template_has_changed(run: Run, created: Path) -> None:
    assert "out of date" in run(created, *CRUFT, "check", code=1)


def test_an_update_keeps_what_the_user_wrote(updated: Path) -> None:
    assert (updated / "order_jobs/jobs/shout.py").read_text() == MINE
    assert "We run it on two machines." in (updated / "README.md").read_text()


def test_an_update_brings_changes_new_files_and_deletions(updated: Path) -> None:
    assert (updated / "docs/celery.md").read_text().startswith("# News about ")
    assert (updated / "docs/news.md").exists()
    assert not (updated / ".pre-commit-config.yaml").exists()


def test_an_update_may_need_a_filter_that_the_old_template_had_not(updated: Path) -> None:
    assert (updated / "docs/news.md").read_text() == "ORDER JOBS\n"


def test_an_update_merges_changes_on_both_sides_of_one_small_file(updated: Path) -> None:
    hello = (updated / "order_jobs/jobs/hello.py").read_text()

    assert hello == (
        '"""Mine now."""\n\n\ndef greet(name: str) -> str:\n    return f"Good morning, {name}!"\n'
    )


def test_an_update_brings_back_no_file_of_an_option_that_is_off(updated: Path) -> None:
    assert [str(path) for path in updated.rglob("*cache*") if ".git" not in path.parts] == []


def test_an_update_answers_a_new_question_by_its_default(updated: Path) -> None:
    context = json.loads((updated / ".cruft.json").read_text())["context"]

    assert context["cookiecutter"]["include_news"] is True


def test_after_an_update_only_the_users_changes_differ(run: Run, updated: Path) -> None:
    assert "up to date" in run(updated, *CRUFT, "check")
    differing = run(updated, *CRUFT, "diff")

    assert set(re.findall(r"^[+-](?![+-]{2}).+", differing, re.MULTILINE)) == {
        '-"""Mine now."""',
        '+"""The smallest job there is."""',
        "-We run it on two machines.",
    }


def test_a_line_that_both_have_changed_is_marked_as_a_conflict(run: Run, project: Path) -> None:
    changed(project / "order_jobs/jobs/hello.py", ("Hello, ", "Ahoy, "))
    commit(run, project)

    printed = run(project, *CRUFT, "update", "--skip-apply-ask")

    assert "order_jobs/jobs/hello.py' with conflicts" in printed
    hello = (project / "order_jobs/jobs/hello.py").read_text()
    assert '<<<<<<< ours\n    return f"Ahoy, {name}!"\n=======\n' in hello
    assert '=======\n    return f"Good morning, {name}!"\n>>>>>>> theirs' in hello


def test_an_option_can_be_switched_later(
    run: Run, project: Path, template: Path, tmp_path: Path
) -> None:
    answers = {"include_aiocache": True, "include_flower": False}
    given = json.dumps(answers)

    run(project, *CRUFT, "update", "--skip-apply-ask", "--variables-to-update", given)

    fresh = tmp_path / "fresh"
    fresh.mkdir()
    run(fresh, *CRUFT, "create", "--no-input", "--extra-context", given, str(template))
    assert files(project) == files(fresh / "order-jobs")
    assert "order_jobs/cache.py" in files(project)
    assert "flowerconfig.py" not in files(project)


def test_a_project_of_plain_cookiecutter_can_be_linked(
    run: Run, template: Path, tmp_path: Path
) -> None:
    run(tmp_path, *COOKIECUTTER, "--no-input", str(template), "project_name=Night Shift")
    project = tmp_path / "night-shift"
    run(project, "git", "init", "--quiet")
    answers = '{"project_name": "Night Shift"}'

    run(project, *CRUFT, "link", "--no-input", "--extra-context", answers, str(template))

    assert "up to date" in run(project, *CRUFT, "check")
    assert run(project, *CRUFT, "diff") == ""


def files(project: Path) -> dict[str, bytes]:
    """All that is in the project, but for its secrets and what git and cruft keep there."""
    return {
        str(path.relative_to(project)): path.read_bytes()
        for path in project.rglob("*")
        if path.is_file() and ".git" not in path.parts and path.name not in (".cruft.json", ".env")
    }
