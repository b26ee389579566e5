"""The suite of each rendered project passes with nothing but what the project declares."""

import shutil
from concurrent.futures import Future

import pytest
from combinations import Answers, covering, label
from conftest import Render, asked_for
from servers import Servers
from suites import Outcome, Suites

Outcomes = dict[str, Future[Outcome]]


@pytest.fixture(scope="session")
def outcomes(request: pytest.FixtureRequest, render: Render, suites: Suites) -> Outcomes:
    """All suites are started at once, so that every core has work."""
    return {
        label(answers): suites.submit(render(answers))
        for answers in asked_for(request.session, "answers")
    }


@pytest.fixture(scope="session")
def live_outcomes(
    request: pytest.FixtureRequest, render: Render, suites: Suites, servers: Servers
) -> Outcomes:
    return {
        label(answers): suites.submit(
            render(answers),
            "-m",
            "live",
            **servers.needed_by(answers),
        )
        for answers in asked_for(request.session, "live_answers")
    }


def test_its_own_tests_pass(answers: Answers, outcomes: Outcomes) -> None:
    passes(outcomes[label(answers)])


def test_its_tests_with_real_processes_pass(live_answers: Answers, live_outcomes: Outcomes) -> None:
    passes(live_outcomes[label(live_answers)])


def passes(outcome: Future[Outcome]) -> None:
    if problem := outcome.result(timeout=500).problem():
        pytest.fail(problem, pytrace=False)


def test_a_suite_that_fails_or_skips_is_noticed(
    render: Render, suites: Suites, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = shutil.copytree(
        render(covering()[0]), tmp_path_factory.mktemp("broken") / "order-jobs"
    )
    shutil.rmtree(project / "tests")
    (project / "tests").mkdir()
    for body in ("assert False", "import pytest; pytest.skip()", "import cookiecutter"):
        (project / "tests/test_it.py").write_text(f"def test_it():\n    {body}\n")

        assert suites.submit(project).result(timeout=500).problem()
