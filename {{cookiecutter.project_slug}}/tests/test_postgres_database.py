"""The database on a real PostgreSQL: migrated, in step with the models, and written once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from live_service import server_for_tests

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

RECORD_TWICE = """
from {{ cookiecutter.__package_slug }}.jobs import orders
from {{ cookiecutter.__package_slug }}.run_async import run_async

order = {"reference": "A1", "customer": "ada@example.com", "cents": 1250}
print([run_async(orders.record(order, confirm=lambda: None)) for _ in range(2)])
"""


def run(*command: str, query: str = "", fails: bool = False) -> str:
    url = server_for_tests("TEST_DATABASE_URL", "postgresql+psycopg://postgres@localhost/postgres")
    done = subprocess.run(
        [sys.executable, *command],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"DATABASE_URL": f"{url}{query}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert bool(done.returncode) == fails, done.stderr
    return done.stderr if fails else done.stdout


def test_an_order_is_recorded_once_in_tables_that_fit_the_models() -> None:
    run("-m", "alembic", "upgrade", "head")

    assert "No new upgrade operations" in run("-m", "alembic", "check")
    assert run("-c", RECORD_TWICE) == "[True, False]\n"

    run("-m", "alembic", "downgrade", "base")


def test_a_server_without_tls_is_refused_where_the_address_asks_for_it() -> None:
    query = "?sslmode=verify-full&sslrootcert=authorities.pem"

    assert "SSL was required" in run("-m", "alembic", "upgrade", "head", query=query, fails=True)
