"""The suite of each rendered project passes with nothing but what the project declares."""

from concurrent.futures import Future

import pytest
from combinations import Answers, label
from conftest import Render, selected
from suites import Outcome, Suites


@pytest.fixture(scope="session")
def outcomes(
    request: pytest.FixtureRequest, render: Render, suites: Suites
) -> dict[str, Future[Outcome]]:
    """All suites are started at once, so that every core has work."""
    chosen = selected(request.config)
    return {label(answers): suites.submit(render(answers), "-m", "not live") for answers in chosen}


def test_its_own_tests_pass(answers: Answers, outcomes: dict[str, Future[Outcome]]) -> None:
    passes(outcomes[label(answers)])


def test_its_tests_with_real_processes_pass(
    few_answers: Answers, render: Render, suites: Suites
) -> None:
    passes(suites.submit(render(few_answers), "-m", "live"))


def passes(outcome: Future[Outcome]) -> None:
    if problem := outcome.result(timeout=900).problem():
        pytest.fail(problem, pytrace=False)
