"""One rendered project for each combination of answers, shared by all tests of it."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import fast_bake
import pytest
from combinations import TEMPLATE, Answers, covering, every, label
from environments import Superset, requirements
from suites import Suites

Render = Callable[[Answers], Path]


def pytest_addoption(parser: pytest.Parser) -> None:
    help = "test every combination of the options instead of a few that cover all pairs"
    parser.addoption("--every", action="store_true", help=help)


def selected(config: pytest.Config) -> list[Answers]:
    return every() if config.getoption("--every") else covering(2)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for fixture, chosen in (
        ("answers", selected(metafunc.config)),
        ("few_answers", covering(1)),
    ):
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, chosen, ids=label, scope="session")


@pytest.fixture(scope="session")
def fast_cookies(cookies_session: Any) -> Iterator[Any]:
    """Bakes projects in milliseconds."""
    with pytest.MonkeyPatch.context() as patch:
        fast_bake.install(patch)
        yield cookies_session


@pytest.fixture(scope="session")
def render(fast_cookies: Any) -> Render:
    """Render a project once for each set of answers."""

    @cache
    def bake(answers: frozenset[tuple[str, str | bool]]) -> Path:
        result = fast_cookies.bake(extra_context=dict(answers), template=str(TEMPLATE))
        assert result.exception is None, result.exception
        project: Path = result.project_path
        return project

    return lambda answers: bake(frozenset(answers.items()))


@pytest.fixture(scope="session")
def project(answers: Answers, render: Render) -> Path:
    return render(answers)


@pytest.fixture(scope="session")
def superset(render: Render) -> Superset:
    return Superset(line for answers in every() for line in requirements(render(answers)))


@pytest.fixture(scope="session")
def suites(superset: Superset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suites]:
    running = Suites(superset, tmp_path_factory.mktemp("suites"))
    yield running
    running.close()
