"""What runs on a schedule: report, fetch, tidy up."""

import json
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import PurePosixPath
from typing import TypedDict

import httpx2
import polars as pl

from ..storage import path_of, replacing
from .etl import TABLE

TIMEOUT = httpx2.Timeout(10)


class Unavailable(Exception):
    """The other side is there but cannot answer now."""


class Report(TypedDict):
    day: str
    orders: int
    cents: int


class Download(TypedDict):
    name: str
    size: int


def daily(day: date, table: str = TABLE) -> Report:
    """Count the orders of a day and keep the figures as a file."""
    report: Report = {"day": day.isoformat(), "orders": 0, "cents": 0}
    if path_of(table).exists():
        of_day = pl.scan_parquet(path_of(table)).filter(pl.col("day") == day)
        figures = of_day.select(orders=pl.len(), cents=pl.col("cents").sum()).collect()
        report["orders"], report["cents"] = figures.row(0)
    with replacing(f"reports/{report['day']}.json") as path:
        path.write_text(json.dumps(report))
    return report


def total(reports: Sequence[Report]) -> Report:
    """The figures of several days together, under the name of the first and the last."""
    days = sorted(report["day"] for report in reports)
    return {
        "day": f"{days[0]} to {days[-1]}",
        "orders": sum(report["orders"] for report in reports),
        "cents": sum(report["cents"] for report in reports),
    }


def yesterday() -> date:
    return (datetime.now(UTC) - timedelta(days=1)).date()


def cleanup(folder: str, max_age_days: float) -> list[str]:
    """Delete files that nobody changed for so long; returns their names."""
    oldest = time.time() - timedelta(days=max_age_days).total_seconds()
    root = path_of(folder)
    old = [path for path in root.rglob("*") if path.is_file() and path.stat().st_mtime < oldest]
    for path in old:
        path.unlink()
    return sorted(str(path.relative_to(root)) for path in old)


async def sync(url: str) -> Download:
    """Download a file into incoming/.

    Raises:
        Unavailable: when the server answers with a 5xx status, which passes.
        httpx2.HTTPStatusError: when it answers with a 4xx status, which does not.
    """
    name = f"incoming/{PurePosixPath(httpx2.URL(url).path).name or 'index'}"
    async with (
        httpx2.AsyncClient(timeout=TIMEOUT, follow_redirects=True) as client,
        client.stream("GET", url) as answer,
    ):
        if answer.is_server_error:
            raise Unavailable(f"{url} answered {answer.status_code}")
        answer.raise_for_status()
        with replacing(name) as path, path.open("wb") as file:
            async for chunk in answer.aiter_bytes():
                file.write(chunk)
    return {"name": name, "size": path_of(name).stat().st_size}
