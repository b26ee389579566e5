"""One rendered project for each combination of answers, shared by all tests of it."""

from collections.abc import Iterator
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from typing import Any

import fast_bake
import pytest
from combinations import TEMPLATE, Answers, Render, covering, every, label
from environments import Superset, requirements
from live_rows import LIVE, left_out
from servers import Servers
from suites import LIVE_AT_ONCE, Outcome, Suites
from tally import Tally

Outcomes = dict[str, Future[Outcome]]


def in_containers(answers: Answers) -> Answers:
    return answers | {"include_docker": True, "python_version": "3.13", "license": "MIT"}


def contained(config: pytest.Config) -> list[Answers]:
    """Each broker and pool once; with --every, each broker with each pool."""
    rows = covering(1, [("broker", "worker_pool")] if config.getoption("--every") else [])
    # What in_containers() makes equal is tested once.
    return list({label(in_containers(row)): in_containers(row) for row in rows}.values())


def pytest_addoption(parser: pytest.Parser) -> None:
    help = "test combinations in which every choice of so many answers occurs (2 unless told)"
    parser.addoption("--cover", type=int, default=2, metavar="ANSWERS", help=help)
    help = "test every combination instead"
    parser.addoption("--every", action="store_true", help=help)
    help = "with --every: only the first of so many parts, such as 1/4, so that machines share them"
    parser.addoption("--part", default="1/1", metavar="NUMBER/PARTS", help=help)
    parser.addoption("--screenshot", action="store_true", help="write the pictures in docs/ anew")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Tally())


def selected(config: pytest.Config) -> list[Answers]:
    if not config.getoption("--every"):
        return covering(config.getoption("--cover"))
    number, parts = map(int, config.getoption("--part").split("/"))
    # Neighbours need the same packages, and have many files in common.
    rows = every()
    return rows[len(rows) * (number - 1) // parts : len(rows) * number // parts]


def asked_for(session: pytest.Session, fixture: str, user: str = "") -> list[Answers]:
    """The combinations that this run has tests of, or tests with this other fixture: by `-k` these
    may be fewer."""
    found: dict[str, Answers] = {}
    for item in session.items:
        assert isinstance(item, pytest.Function)
        parameters: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
        if fixture in parameters and (user or fixture) in item.fixturenames:
            found[label(parameters[fixture])] = parameters[fixture]
    return list(found.values())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for fixture, chosen in (
        ("answers", selected(metafunc.config)),
        ("few_answers", covering(1)),
        ("live_answers", LIVE),
        ("contained_answers", contained(metafunc.config)),
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
    # Whether a package is needed hangs on three answers at most. With four, one would be missing
    # here, and the tests of the projects that need it would fail.
    return Superset(line for answers in covering(3) for line in requirements(render(answers)))


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """PostgreSQL and RabbitMQ, started when a test needs them."""
    with Servers(tmp_path_factory).running() as servers:
        yield servers


@pytest.fixture(scope="session")
def suites(superset: Superset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suites]:
    running = Suites(superset, tmp_path_factory.mktemp("suites"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def live_suites(superset: Superset, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suites]:
    # They take far longer than a runner takes to start.
    running = Suites(superset, tmp_path_factory.mktemp("live_suites"), LIVE_AT_ONCE, 0)
    yield running
    running.close()


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


@pytest.fixture(scope="session", autouse=True)
def begun_early(request: pytest.FixtureRequest) -> None:
    """What takes longest runs beside all other tests, most of which wait more than they compute."""
    if asked_for(request.session, "live_answers"):
        request.getfixturevalue("live_outcomes")
