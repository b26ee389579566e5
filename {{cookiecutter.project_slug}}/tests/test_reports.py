"""What runs on a schedule: right figures, old files, downloads that survive trouble."""

import json
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import polars as pl
import pytest

from {{ cookiecutter.__package_slug }}.jobs import etl, reports
from {{ cookiecutter.__package_slug }}.run_async import run_async
from {{ cookiecutter.__package_slug }}.storage import path_of, replacing
from {{ cookiecutter.__package_slug }}.tasks.reports import daily, sync

pytestmark = pytest.mark.usefixtures("folder")

FRIDAY, SATURDAY = date(2026, 11, 20), date(2026, 11, 21)


class Site(HTTPServer):
    """A web site that gives these answers, one after the other, and then none."""

    answers: list[tuple[int, bytes]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/prices.csv?page=1"


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Site)
        status, content = self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        # A client that refuses the status hangs up before it has read this.
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing: the test's output is not a server log."""


@pytest.fixture
def site() -> Iterator[Site]:
    with Site(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def orders(folder: Path) -> None:
    days = [FRIDAY, FRIDAY, SATURDAY]
    with replacing(etl.TABLE) as path:
        pl.DataFrame({"day": days, "cents": [100, 50, 7]}).write_parquet(path)


@pytest.mark.usefixtures("orders")
def test_a_report_counts_the_orders_of_its_day_and_is_kept() -> None:
    report = reports.daily(FRIDAY)

    assert report == {"day": "2026-11-20", "orders": 2, "cents": 150}
    assert json.loads(path_of("reports/2026-11-20.json").read_text()) == report


@pytest.mark.usefixtures("orders")
def test_a_day_without_orders_has_a_report_too() -> None:
    assert reports.daily(date(2026, 1, 1)) == {"day": "2026-01-01", "orders": 0, "cents": 0}


def test_there_is_a_report_before_there_are_orders() -> None:
    assert reports.daily(FRIDAY) == {"day": "2026-11-20", "orders": 0, "cents": 0}


def test_the_total_is_named_after_the_first_and_the_last_day() -> None:
    days: list[reports.Report] = [
        {"day": "2026-11-21", "orders": 1, "cents": 7},
        {"day": "2026-11-20", "orders": 2, "cents": 150},
    ]

    assert reports.total(days) == {"day": "2026-11-20 to 2026-11-21", "orders": 3, "cents": 157}


@pytest.mark.usefixtures("worker", "orders")
def test_worker_reports_on_a_day_or_else_on_yesterday() -> None:
    assert daily.delay("2026-11-21").get(timeout=10, interval=0.01)["cents"] == 7

    before = datetime.now(UTC)
    scheduled = daily.delay().get(timeout=10, interval=0.01)["day"]
    # Midnight may pass meanwhile.
    yesterdays = [(now - timedelta(days=1)).date() for now in (before, datetime.now(UTC))]
    assert date.fromisoformat(scheduled) in yesterdays


def test_cleaning_deletes_what_is_old_and_nothing_else(folder: Path) -> None:
    now = time.time()
    for name, days in [("old", 8), ("deep/old", 8), ("young", 6), ("../other", 8)]:
        path = folder / "staging" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (now, now - days * 24 * 60 * 60))

    assert reports.cleanup("staging", max_age_days=7) == ["deep/old", "old"]
    left = {path.name for path in folder.rglob("*") if path.is_file()}
    assert left == {"young", "other"}


def test_cleaning_a_folder_that_nobody_made_yet_deletes_nothing() -> None:
    assert reports.cleanup("staging", max_age_days=7) == []


def test_cleaning_stays_in_the_shared_folder() -> None:
    with pytest.raises(ValueError, match="DATA_DIR"):
        reports.cleanup("..", max_age_days=0)


def test_a_download_is_named_after_its_address(site: Site) -> None:
    site.answers = [(200, b"tea,250")]

    assert run_async(reports.sync(site.url)) == {"name": "incoming/prices.csv", "size": 7}
    assert path_of("incoming/prices.csv").read_bytes() == b"tea,250"


def test_a_download_that_fails_leaves_the_one_before(site: Site) -> None:
    site.answers = [(200, b"tea,250"), (503, b"later")]
    run_async(reports.sync(site.url))

    with pytest.raises(reports.Unavailable, match="answered 503"):
        run_async(reports.sync(site.url))

    assert path_of("incoming/prices.csv").read_bytes() == b"tea,250"


@pytest.mark.usefixtures("worker", "no_pause")
def test_a_server_in_trouble_is_asked_again(site: Site) -> None:
    site.answers = [(503, b""), (500, b""), (200, b"tea,250")]

    assert sync.delay(site.url).get(timeout=10, interval=0.01)["size"] == 7


@pytest.mark.usefixtures("worker", "no_pause")
def test_a_server_that_hangs_up_is_asked_again(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    hangs_up = threading.Event()

    def hang_up_once(request: object, address: object) -> bool:
        first = not hangs_up.is_set()
        hangs_up.set()
        return not first

    monkeypatch.setattr(site, "verify_request", hang_up_once)
    site.answers = [(200, b"tea,250")]

    assert sync.delay(site.url).get(timeout=10, interval=0.01)["size"] == 7
    assert hangs_up.is_set()


@pytest.mark.usefixtures("worker")
def test_what_the_server_has_not_is_asked_for_once(site: Site) -> None:
    site.answers = [(404, b""), (200, b"tea,250")]

    with pytest.raises(Exception, match="404"):
        sync.delay(site.url).get(timeout=10, interval=0.01)

    assert site.answers == [(200, b"tea,250")]
