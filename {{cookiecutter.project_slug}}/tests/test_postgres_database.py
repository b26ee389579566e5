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


def run(*command: str) -> str:
    url = server_for_tests("TEST_DATABASE_URL", "postgresql+psycopg://postgres@localhost/postgres")
    done = subprocess.run(
        [sys.executable, *command],
        cwd=Path(__file__).parents[1],
        env=os.environ | {"DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_order_is_recorded_once_in_tables_that_fit_the_models() -> None:
    run("-m", "alembic", "upgrade", "head")

    assert "No new upgrade operations" in run("-m", "alembic", "check")
    assert run("-c", RECORD_TWICE) == "[True, False]\n"

    run("-m", "alembic", "downgrade", "base")
