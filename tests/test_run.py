"""The suite of each rendered project passes with nothing but what the project declares."""

import shutil
from concurrent.futures import Future

import pytest
from combinations import Answers, Render, covering, label
from conftest import Outcomes, asked_for
from live_rows import HANGS_ON, LIVE, choices, having, left_out
from suite_runner import LONGEST
from suites import Outcome, Suites


@pytest.fixture(scope="session")
def outcomes(request: pytest.FixtureRequest, render: Render, suites: Suites) -> Outcomes:
    """All suites are started at once, so that every core has work."""
    return {
        label(answers): suites.submit(render(answers))
        for answers in asked_for(request.session, "answers")
    }


@pytest.mark.timeout(LONGEST + 200)
def test_its_own_tests_pass(answers: Answers, outcomes: Outcomes) -> None:
    passes(outcomes[label(answers)])


@pytest.mark.timeout(LONGEST + 200)
def test_its_tests_with_real_processes_pass(live_answers: Answers, live_outcomes: Outcomes) -> None:
    passes(live_outcomes[label(live_answers)])


def passes(outcome: Future[Outcome]) -> None:
    if problem := outcome.result(timeout=LONGEST + 100).problem():
        pytest.fail(problem, pytrace=False)


@pytest.mark.parametrize("file", HANGS_ON)
def test_what_hangs_on_few_choices_is_run_for_each_of_them(render: Render, file: str) -> None:
    ignored, there = left_out(LIVE, render), having(LIVE, render, file)
    run = [row for row in there if f"--ignore=tests/{file}" not in ignored[label(row)]]

    wanted = {choice for row in there for choice in choices(row, HANGS_ON[file])}
    assert {choice for row in run for choice in choices(row, HANGS_ON[file])} == wanted
    # Engines have files of their own by the same names.
    assert {row["task_engine"] for row in run} == {row["task_engine"] for row in there}
    assert run


def test_a_suite_that_fails_or_skips_is_noticed(
    render: Render, suites: Suites, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = shutil.copytree(
        render(covering()[0]), tmp_path_factory.mktemp("broken") / "order-jobs"
    )
    shutil.rmtree(project / "tests")
    (project / "tests").mkdir()
    for body, told in (
        ("assert False", "test_it failed in its call"),
        ("import pytest; pytest.skip()", "0 failed, 1 skipped"),
        ("import cookiecutter", "No module named 'cookiecutter'"),
        ("import os; os._exit(0)", "it died, or was killed"),
    ):
        (project / "tests/test_it.py").write_text(f"def test_it():\n    {body}\n")

        assert told in str(suites.submit(project).result(timeout=600).problem())
