"""What the API keeps beside the broker, in a real store of results."""

import asyncio
#{% if cookiecutter.__result_backend == "redis" %}
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
#{% endif %}
#{% if cookiecutter.__result_backend == "postgres" %}
from collections.abc import AsyncIterator, Callable, Coroutine
#{% endif %}
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
#{% if cookiecutter.__result_backend == "postgres" %}
from pathlib import Path
#{% endif %}
from typing import Any
from uuid import uuid4

import pytest
from celery.app.backends import by_url
from fastapi import HTTPException

#{% if cookiecutter.__result_backend == "redis" %}
from {{ cookiecutter.__package_slug }}.api import redis_store as stores
#{% endif %}
#{% if cookiecutter.__result_backend == "postgres" %}
from {{ cookiecutter.__package_slug }}.api import database_store as stores
#{% endif %}
from {{ cookiecutter.__package_slug }}.api.job import State, Submission
from {{ cookiecutter.__package_slug }}.api.store import Mailbox, Store
from {{ cookiecutter.__package_slug }}.celery import app
#{% if cookiecutter.__result_backend == "redis" %}
from {{ cookiecutter.__package_slug }}.embedded_broker import running
#{% endif %}
from {{ cookiecutter.__package_slug }}.settings import Settings

#{% if cookiecutter.__result_backend == "redis" %}
ResultStore: Callable[[], Store] = stores.RedisStore
NOWHERE = "redis://127.0.0.1:1"
# Celery's own store calls it.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex")
#{% endif %}
#{% if cookiecutter.__result_backend == "postgres" %}
ResultStore: Callable[[], Store] = stores.DatabaseStore
NOWHERE = "db+sqlite:////nowhere/at/all"
#{% endif %}


#{% if cookiecutter.__result_backend == "redis" %}
@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("results")) as server:
        yield server.url(1)
#{% endif %}
#{% if cookiecutter.__result_backend == "postgres" %}
@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"db+sqlite:///{tmp_path}/results.sqlite3"
#{% endif %}


@pytest.fixture
def backend(url: str) -> Any:
    """Where a worker stores results."""
    found: Any = by_url(url, app.loader)
    backend, address = found
    return backend(app=app, url=address)


Test = Callable[[Store], Coroutine[Any, Any, None]]


@pytest.fixture
def use(url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[Test], None]:
    """Runs a test with a store that is connected."""
    settings = Settings(_env_file=None, celery_result_backend=url)
    monkeypatch.setattr(stores, "settings", settings)

    async def run(test: Test) -> None:
        async with started() as store, asyncio.timeout(10):
            await test(store)

    return lambda test: asyncio.run(run(test))


@asynccontextmanager
async def started() -> AsyncIterator[Store]:
    store = ResultStore()
    await store.start()
    try:
        yield store
    finally:
        await store.close()


def submission(minutes: int = 0) -> Submission:
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    return Submission(id=str(uuid4()), task="hello.greet", submitted_at=at)


async def told(mailbox: Mailbox, state: State) -> None:
    """Wait until this is the news. The same may be told twice."""
    while (seen := await mailbox.next()) is None or seen.state is not state:
        assert seen, "the watch has ended"


def test_what_was_submitted_is_remembered_the_latest_first(use: Callable[[Test], None]) -> None:
    async def test(store: Store) -> None:
        first, second = submission(), submission(1)
        for one in (first, second):
            await store.remember(one)

        assert (await store.recent())[:2] == [second.id, first.id]
        assert await store.submissions([first.id, "x"]) == [first, None]

    use(test)


def test_of_a_job_that_was_never_heard_of_nothing_is_seen(use: Callable[[Test], None]) -> None:
    async def test(store: Store) -> None:
        assert await store.seen(["x"]) == [None]

    use(test)


def test_a_watcher_is_told_how_a_job_is_and_then_of_each_change(
    use: Callable[[Test], None], backend: Any
) -> None:
    async def test(store: Store) -> None:
        job_id = str(uuid4())
        report = {"steps": [{"done": 1, "total": 2, "note": ""}], "began": 0}
        async with store.watch(job_id) as first, store.watch(job_id) as second:
            for mailbox in (first, second):
                await told(mailbox, State.QUEUED)
            await asyncio.to_thread(backend.store_result, job_id, report, "PROGRESS")
            for mailbox in (first, second):
                await told(mailbox, State.RUNNING)
            await asyncio.to_thread(backend.store_result, job_id, "x", "SUCCESS")
            for mailbox in (first, second):
                await told(mailbox, State.SUCCEEDED)

    use(test)


def test_who_comes_late_is_told_the_end(use: Callable[[Test], None], backend: Any) -> None:
    job_id = str(uuid4())
    backend.store_result(job_id, "x", "SUCCESS")

    async def test(store: Store) -> None:
        async with store.watch(job_id) as mailbox:
            await told(mailbox, State.SUCCEEDED)

    use(test)


def test_the_reason_of_a_failure_is_seen(use: Callable[[Test], None], backend: Any) -> None:
    job_id = str(uuid4())
    backend.store_result(job_id, KeyError("Ada"), "FAILURE")

    async def test(store: Store) -> None:
        (seen,) = await store.seen([job_id])
        assert seen
        assert str(seen.error()) == "type='KeyError' message='Ada'"

    use(test)


def test_the_end_of_the_service_is_the_end_of_each_watch(use: Callable[[Test], None]) -> None:
    async def test(store: Store) -> None:
        async with store.watch("x") as early:
            await early.next()
            store.end_watching()
            assert await early.next() is None
        async with store.watch("x") as late:
            assert await late.next() is None

    use(test)


def test_a_key_belongs_to_who_came_first_until_it_is_released(use: Callable[[Test], None]) -> None:
    async def test(store: Store) -> None:
        key = uuid4().hex
        mine = await store.claim(key, "one", "x")
        theirs = await store.claim(key, "two", "x")
        await store.release_claim(key)
        again = await store.claim(key, "three", "x")

        assert [mine.is_mine, theirs.is_mine, again.is_mine] == [True, False, True]
        # What was not sent may be on its way all the same, and must not become a second job.
        assert again.job_id == "one"

    use(test)


def test_a_key_that_was_used_leads_to_its_job(use: Callable[[Test], None]) -> None:
    async def test(store: Store) -> None:
        key = uuid4().hex
        await store.keep_claim(key, await store.claim(key, "one", "x"))
        theirs = await store.claim(key, "two", "y")

        assert (theirs.job_id, theirs.fingerprint) == ("one", "x")
        assert (theirs.is_submitted, theirs.is_mine) == (True, False)

    use(test)


def test_the_key_of_a_process_that_was_killed_is_taken_over_with_its_job(
    use: Callable[[Test], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 0.01
    monkeypatch.setattr(f"{stores.__name__}.CLAIM", seconds)

    async def test(store: Store) -> None:
        key = uuid4().hex
        await store.claim(key, "one", "x")
        await asyncio.sleep(2 * seconds)
        theirs = await store.claim(key, "two", "x")

        assert (theirs.job_id, theirs.is_mine) == ("one", True)

    use(test)


def test_a_store_that_is_away_is_told_and_ends_nothing(
    use: Callable[[Test], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Settings(_env_file=None, celery_result_backend=NOWHERE)
    monkeypatch.setattr(stores, "settings", away)

    async def test(store: Store) -> None:
        with pytest.raises(HTTPException) as refusal:
            await store.recent()
        assert refusal.value.status_code == 503

    use(test)
#{% if cookiecutter.__result_backend == "redis" %}


def test_a_connection_that_is_cut_is_made_again(
    use: Callable[[Test], None], backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "TRY_AGAIN_AFTER", 0.01)

    async def test(store: Store) -> None:
        job_id = str(uuid4())
        async with store.watch(job_id) as mailbox:
            await mailbox.next()
            backend.client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
            await asyncio.to_thread(backend.store_result, job_id, "x", "SUCCESS")
            await told(mailbox, State.SUCCEEDED)

    use(test)


def test_a_server_that_is_silent_is_left(
    use: Callable[[Test], None], backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "SILENCE", 0.05)

    async def test(store: Store) -> None:
        async def listeners() -> set[str]:
            clients = await asyncio.to_thread(backend.client.client_list, "pubsub")
            return {client["id"] for client in clients}

        job_id = str(uuid4())
        async with store.watch(job_id) as mailbox:
            await mailbox.next()
            before = await listeners()
            # Again, if the test itself was held up until the pause was over.
            while before & await listeners():
                # Longer than two silences. What asks meanwhile is answered afterwards.
                await asyncio.to_thread(backend.client.client_pause, 300)
            await asyncio.to_thread(backend.store_result, job_id, "x", "SUCCESS")
            await told(mailbox, State.SUCCEEDED)

    use(test)
#{% endif %}
