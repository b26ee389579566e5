"""The suite of each rendered project passes with nothing but what the project declares."""

import shutil
from collections import defaultdict
from concurrent.futures import Future

import pytest
from combinations import Answers, covering, label
from conftest import LIVE, Render, asked_for
from servers import Servers
from suites import Outcome, Suites

Outcomes = dict[str, Future[Outcome]]
# Live tests on which only one choice has a bearing: they run once for each value of it, unless
# `--every` is asked for.
HANGS_ON = {
    "test_dead_letters.py": "broker",
    "test_dev.py": "worker_pool",
    "test_locks.py": "broker",
    "test_outbox_losses.py": "broker",
    "test_signs_of_life.py": "broker",
}


@pytest.fixture(scope="session")
def outcomes(request: pytest.FixtureRequest, render: Render, suites: Suites) -> Outcomes:
    """All suites are started at once, so that every core has work."""
    return {
        label(answers): suites.submit(render(answers))
        for answers in asked_for(request.session, "answers")
    }


@pytest.fixture(scope="session")
def live_outcomes(
    request: pytest.FixtureRequest, render: Render, live_suites: Suites, servers: Servers
) -> Outcomes:
    rows = asked_for(request.session, "live_answers")
    ignored = {} if request.config.getoption("--every") else left_out(rows, render)
    return {
        label(row): live_suites.submit(
            render(row), "-m", "live", *ignored.get(label(row), ()), **servers.needed_by(row)
        )
        for row in rows
    }


def having(rows: list[Answers], render: Render, file: str) -> list[Answers]:
    return [row for row in rows if (render(row) / "tests" / file).exists()]


def left_out(rows: list[Answers], render: Render) -> dict[str, list[str]]:
    """Arguments for the suites that leave to another what hangs on one choice only."""
    ignored: dict[str, list[str]] = defaultdict(list)
    for file, option in HANGS_ON.items():
        there = having(rows, render, file)
        for value in {row[option] for row in there}:
            # Those that leave out most so far are done first.
            *others, _ = sorted(
                (label(row) for row in there if row[option] == value),
                key=lambda name: len(ignored[name]),
            )
            for name in others:
                ignored[name].append(f"--ignore=tests/{file}")
    return ignored


def test_its_own_tests_pass(answers: Answers, outcomes: Outcomes) -> None:
    passes(outcomes[label(answers)])


def test_its_tests_with_real_processes_pass(live_answers: Answers, live_outcomes: Outcomes) -> None:
    passes(live_outcomes[label(live_answers)])


def passes(outcome: Future[Outcome]) -> None:
    if problem := outcome.result(timeout=600).problem():
        pytest.fail(problem, pytrace=False)


@pytest.mark.parametrize("file", HANGS_ON)
def test_what_hangs_on_one_choice_is_run_once_for_each(render: Render, file: str) -> None:
    ignored, there = left_out(LIVE, render), having(LIVE, render, file)
    run = [row for row in there if f"--ignore=tests/{file}" not in ignored[label(row)]]

    chosen = sorted(str(row[HANGS_ON[file]]) for row in run)
    assert chosen == sorted({str(row[HANGS_ON[file]]) for row in there})
    assert chosen


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
